"""Which consumers are there: on pages of their own, and on the exporter's page."""

from grafana.vocabulary.promql import NOT_KNOWN, Scope


def up(targets: Scope, pages: Scope) -> str:
    """Count consumers that answer, or that renew their metrics."""
    exporter = targets("huey_exporter_up")
    live = pages("huey_exporter_pages", 'state="live"')
    answering = f"sum({targets('up')} unless on (job, instance) {exporter} or {live})"
    return f"{answering} or {_not_known(targets)} or vector(0)"


def down(targets: Scope, pages: Scope) -> str:
    """Count targets that do not answer, and pages whose consumer was killed.

    An exporter that does not answer is one: nothing is known of its consumers.
    """
    stale = pages("huey_exporter_pages", 'state="stale"')
    gone = f"sum(({targets('up')} == bool 0) or {stale}) > 0"
    return f"{gone} or {_not_known(targets)} or vector(0)"


def _not_known(targets: Scope) -> str:
    """Say so where all that is known of consumers is in a Redis that is away."""
    return f"{NOT_KNOWN} and on () {targets('huey_exporter_up')} == 0"
