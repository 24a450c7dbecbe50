"""Findings of the stream: whether events are kept, and for long enough."""

import time
from collections.abc import Iterator
from typing import Final

from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Finding, Level, Unknown, cannot_tell
from huey_otel.cli.check.streams import NONE, STREAM
from huey_otel.cli.check.words import counted, spoken

_SHORTEST: Final = 600.0
"""Seconds that a listener may be away, as while it is deployed or Redis is."""


def stream_type(facts: Facts) -> Iterator[Finding]:
    """The key of the stream holds something else."""
    kept = facts.kept
    if kept is None:
        return
    if isinstance(kept.kind, Unknown):
        if facts.asks_for_stream:
            whether = "whether events can be added to the stream"
            yield cannot_tell("stream-type", whether, kept.kind, facts.queue)
    elif kept.kind not in (NONE, STREAM):
        said = f"the key {kept.key!r} of its stream holds a {kept.kind}"
        level = Level.ERROR if facts.asks_for_stream else Level.WARNING
        yield Finding(level, "stream-type", said, facts.queue)


def trimmed(facts: Facts) -> Iterator[Finding]:
    """The stream reaches back for too short a time."""
    kept, outlet = facts.kept, facts.outlet
    if kept is None or outlet is None or kept.kind != STREAM:
        return
    whether = "how far its stream reaches back"
    if kept.unread is not None:
        yield cannot_tell("trimmed", whether, kept.unread, facts.queue)
        return
    ahead = outlet.ahead
    if kept.oldest is None or isinstance(ahead, Unknown):
        return
    reach = time.time() + ahead - kept.oldest
    if reach >= _SHORTEST or kept.trimmed == 0:
        return
    if kept.trimmed is None:
        if kept.length >= facts.entries:
            none = Unknown("a Redis before version 7 does not say what it has trimmed")
            yield cannot_tell("trimmed", whether, none, facts.queue)
        return
    said = f"its stream {kept.key!r} reaches back {spoken(max(0.0, reach))}, with"
    said = f"{said} {counted(kept.length, 'event')}"
    yield Finding(Level.WARNING, "trimmed", said, facts.queue)


ALL: Final = (stream_type, trimmed)
