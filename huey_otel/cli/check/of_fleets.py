"""Findings of the producers and consumers of a queue: which are observed, which fit."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from typing import Final

import huey
from huey.registry import Message

from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Finding, Level, Unknown, cannot_tell
from huey_otel.cli.check.words import counted
from huey_otel.events import EVENT_CHECKING_PERIODIC

_SETTLED: Final = 90
"""Seconds after which a consumer with a scheduler has published its first event."""

_WHETHER: Final = "whether its consumer is observed"
_SILENT: Final = "it was started with -n and has run no task yet"

_TWICE: Final = 4
"""Turns of two publishers that take turns twice."""

_BOTH_TWICE: Final = 45.0
"""Seconds in which two that check in the same second have both done so twice.

Which of them is first may change from minute to minute.
"""

_LATELY: Final = 90.0
"""Seconds in which a scheduler that still runs has published."""

_WINDOW: Final = 600.0
"""Seconds before that in which they took turns."""

_Check = tuple[float, str]
"""When, and by which publisher."""

_FORMATS: Final = ((3, 0), (3, 3))
"""Versions of huey that began to write messages that older ones cannot read."""


def plain_producer(facts: Facts) -> Iterator[Finding]:
    """Messages have no trailer that we can read."""
    if facts.keys is None:
        return
    sample = facts.keys.sample
    whether = "whether producers are observed"
    if isinstance(sample, Unknown):
        yield cannot_tell("plain-producer", whether, sample, facts.queue)
        return
    of_all = f"of {counted(sample.looked_at, 'message')} looked at"
    if sample.plain:
        said = f"{sample.plain} {of_all} come from a process without huey-otel"
        yield Finding(Level.WARNING, "plain-producer", said, facts.queue)
    if sample.unreadable:
        said = f"{len(sample.unreadable)} {of_all} have a {sample.unreadable[0]}"
        yield Finding(Level.WARNING, "plain-producer", said, facts.queue)
    if sample.opaque:
        why = f"{sample.opaque} {of_all} are of a serializer that is not huey's"
        yield cannot_tell("plain-producer", whether, Unknown(why), facts.queue)


def plain_consumer(facts: Facts) -> Iterator[Finding]:
    """A consumer is not observed."""
    known = facts.environment
    if facts.page is not None or (known is not None and known.settings.disabled):
        return
    suspects = _suspects(facts)
    if known is not None and not known.instrumented:
        said = f"in this environment nothing calls instrument() for {known.path}"
        level = Level.WARNING
        if suspects and not isinstance(suspects, Unknown):
            said, level = f"{said}, and {suspects}", Level.ERROR
        yield Finding(level, "plain-consumer", said, facts.queue)
    elif isinstance(suspects, Unknown):
        whether = "whether consumers are observed"
        yield cannot_tell("plain-consumer", whether, suspects, facts.queue)
    elif not suspects:
        return
    elif known is None:
        why = f"{suspects}; its events may be off, or go elsewhere, or {_SILENT}"
        yield cannot_tell("plain-consumer", _WHETHER, Unknown(why), facts.queue)
    elif _was_used(facts) and known.periodic_tasks:
        said = f"{suspects}, which publishes an event a minute"
        yield Finding(Level.WARNING, "plain-consumer", said, facts.queue)
    elif _was_used(facts):
        why = f"{suspects}; or {_SILENT}"
        yield cannot_tell("plain-consumer", _WHETHER, Unknown(why), facts.queue)


def _suspects(facts: Facts) -> str | Unknown:
    """Why a consumer seems to run without huey-otel, empty if none does."""
    known = facts.environment
    if known is not None and known.instrumented and known.emitter is None:
        # It has no connection by which it could be known.
        return ""
    if facts.server is None or facts.server.away:
        return ""
    consumers = facts.server.consumers
    if isinstance(consumers, Unknown):
        return consumers
    settled = [client for client in consumers if client.age > _SETTLED]
    if not settled:
        return ""
    for server in facts.servers:
        if isinstance(server.clients, Unknown):
            return server.clients
        if any(client.is_ours for client in server.clients):
            return ""
    hosts = sorted({client.host for client in settled})
    return (
        f"a consumer is connected from {' and '.join(hosts[:3])}, and no publisher of"
        " huey-otel"
    )


def _was_used(facts: Facts) -> bool:
    return facts.keys is not None and facts.keys.elsewhere is None


def schedulers(facts: Facts) -> Iterator[Finding]:
    """Several consumers look for periodic tasks."""
    # Others may publish there as well.
    events: Sequence[Mapping[str, object]] = facts.events
    times = [
        (when, name)
        for event in events
        if event["status"] == EVENT_CHECKING_PERIODIC
        for when, name in [(event.get("timestamp"), event.get("publisher"))]
        if isinstance(when, int | float) and isinstance(name, str)
    ]
    newest = max(times, default=(0.0, ""))[0]
    checks = [(when, name) for when, name in sorted(times) if when > newest - _WINDOW]
    alive = {name for when, name in times if when > newest - _LATELY}
    known = dict.fromkeys(name for _, name in checks)
    publishers = [name for name in known if name in alive]
    at_once = {
        name
        for pair in combinations(publishers, 2)
        if _turns(checks, pair) >= _TWICE or _overlap(checks, pair) >= _BOTH_TWICE
        for name in pair
    }
    if at_once:
        names = [name.rpartition(":")[0] for name in publishers if name in at_once]
        said = f"{len(names)} consumers run its periodic tasks: {', '.join(names)}"
        yield Finding(Level.WARNING, "schedulers", said, facts.queue)


def _turns(checks: Sequence[_Check], pair: tuple[str, str]) -> int:
    """How often the two of *pair* take turns, from the first to the last check."""
    return len(list(groupby(name for _, name in checks if name in pair)))


def _overlap(checks: Sequence[_Check], pair: tuple[str, str]) -> float:
    """For how many seconds the two of *pair* were both seen."""
    seen = [[when for when, name in checks if name == one] for one in pair]
    return min(times[-1] for times in seen) - max(times[0] for times in seen)


def old_huey(facts: Facts) -> Iterator[Finding]:
    """A consumer's huey is too old for what is enqueued, or for us."""
    if facts.environment is None:
        return
    ours = str(huey.__version__)
    page, keys = facts.page, facts.keys
    theirs = "" if page is None else page.infos[facts.queue].get("huey_version", "")
    if page is not None and _format(theirs) < _format(ours):
        said = f"the consumer at {page.address} runs huey {theirs}, which cannot read"
        said = f"{said} the messages of huey {ours} in this environment"
        yield Finding(Level.ERROR, "old-huey", said, facts.queue)
    if keys is None or isinstance(keys.sample, Unknown):
        return
    if keys.sample.fields > len(Message._fields):
        said = f"a newer huey has written messages that huey {ours} in this environment"
        yield Finding(Level.ERROR, "old-huey", f"{said} cannot read", facts.queue)


def _format(version: str) -> int:
    parts = version.split(".")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return sum(numbers >= first for first in _FORMATS)


def no_monkey_patch(facts: Facts) -> Iterator[Finding]:
    """Workers are greenlets of an unpatched standard library."""
    known = facts.environment
    if known is None or known.patched:
        return
    page = facts.page
    if known.greenlets:
        said = (
            f"{known.greenlets} asks for greenlets, and gevent has patched nothing in"
        )
        yield Finding(
            Level.ERROR, "no-monkey-patch", f"{said} this environment", facts.queue
        )
    elif page is not None and page.infos[facts.queue].get("worker_type") == "greenlet":
        why = (
            f"the consumer at {page.address} has greenlets, and gevent patches nothing"
        )
        why = f"{why} when {known.path} is imported"
        whether = "whether its program calls monkey.patch_all()"
        yield cannot_tell("no-monkey-patch", whether, Unknown(why), facts.queue)


def stuck(facts: Facts) -> Iterator[Finding]:
    """A consumer is dead, or does nothing."""
    page = facts.page
    if page is not None and page.unhealthy:
        said = f"the consumer at {page.address} says: {page.unhealthy}"
        yield Finding(Level.ERROR, "stuck", said)
    hung = facts.pages
    if hung is not None and hung.hangs:
        said = f"{hung.address}, where its metrics are in this environment, accepts"
        said = f"{said} connections and gives {hung.silent}"
        yield Finding(Level.WARNING, "stuck", said)


ALL: Final = (
    plain_producer,
    plain_consumer,
    schedulers,
    old_huey,
    no_monkey_patch,
    stuck,
)
