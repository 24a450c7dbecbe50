"""The numbering: names an output of events, and numbers what it publishes."""

import itertools
import os
import time
from typing import Final

from huey_otel._wire.client import CLIENT
from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source
from huey_otel.mapping import TABLE

_UNPUBLISHED: Final = frozenset(
    status for status, row in TABLE.items() if not row.is_event
)

_made: Final = itertools.count()


def publisher() -> str:
    """A new name for an output of this process."""
    # Two may be made in one microsecond.
    started = time.time_ns() // 1_000 + next(_made)
    return f"{CLIENT.host}:{os.getpid()}:{started}"


class Numbering:
    """Spells the events of one output, which its name and their number are part of.

    `publisher` is different for each one that is made. The number advances by all that
    could be published, so readers see a gap where something was dropped or summed up.
    """

    def __init__(self) -> None:
        self.publisher: Final = publisher()
        self._last = 0

    def event_of(self, record: Record, source: Source) -> str | None:
        """The event that *record* is, in JSON; None if it is none."""
        seq = self.number_of(record)
        return None if seq is None else spell(record, source, self.publisher, seq)

    def number_of(self, record: Record) -> int | None:
        """The number of the event that *record* is; None if it is none."""
        if record.status in _UNPUBLISHED:
            return None
        # A record that sums others up has no key, as it is about no one message.
        if not record.key and record.sums_up:
            self._last += (record.extra or {})["number"]
            return None
        self._last += 1
        return self._last
