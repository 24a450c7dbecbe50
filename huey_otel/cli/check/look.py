"""Look at a target: all findings about it, worst first, and what was looked at."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from huey_otel.cli.check import (
    of_environments,
    of_fleets,
    of_queues,
    of_servers,
    of_streams,
)
from huey_otel.cli.check.codes import CODES
from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Finding
from huey_otel.cli.check.streams import STREAM

Find = Callable[[Facts], Iterator[Finding]]

FINDINGS: Final[Sequence[Find]] = (
    *of_servers.ALL,
    *of_streams.ALL,
    *of_queues.ALL,
    *of_fleets.ALL,
    *of_environments.ALL,
)


def findings(facts: Sequence[Facts]) -> list[Finding]:
    """All that is found in *facts*, worst first, each once."""
    found = [finding for one in facts for find in FINDINGS for finding in find(one)]
    order = list(CODES)
    return sorted(
        dict.fromkeys(found),
        key=lambda one: (one.level.rank, order.index(one.code), one.queue),
    )


def looked_at(facts: Facts) -> list[str]:
    """What *facts* are about, for people; no passwords."""
    parts = [f"queue {facts.queue}"]
    if facts.server is not None:
        parts.append(f"{facts.server.address} database {facts.server.database}")
    known = facts.environment
    if known is not None:
        parts[0] = f"queue {facts.queue} of {known.path}"
        if known.emitter is None:
            parts.append("events off")
        if known.settings.disabled or not known.instrumented:
            parts.append("not instrumented")
        elif not known.spans.off:
            parts.append(f"spans {known.spans.where}, started {known.spans.way}")
    if facts.outlet is not None:
        elsewhere = (
            "" if facts.outlet is facts.server else f" of {facts.outlet.address}"
        )
        kept = facts.kept
        stream = f", stream {kept.key}" if kept and kept.kind == STREAM else ""
        parts.append(f"events on channel {facts.channel}{elsewhere}{stream}")
    if facts.pages is not None and not facts.pages.silent:
        parts.append(f"the pages at {facts.pages.address}")
    return parts
