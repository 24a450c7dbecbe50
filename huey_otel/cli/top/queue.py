"""A queue that top shows: all that is asked of one, and the snapshot of it."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from huey_otel._safety.redaction import said
from huey_otel.cli.exporter.look import BusyError, Look, Seen
from huey_otel.cli.exporter.stored import Skipped, Stored
from huey_otel.cli.sources import Source
from huey_otel.cli.top import of_pages
from huey_otel.cli.top.failures import Failures
from huey_otel.cli.top.pages import Pages
from huey_otel.cli.top.rates import Rates
from huey_otel.cli.top.snapshot import Backlog, Snapshot, Unknown
from huey_otel.cli.top.stream import FollowedStream

_WHILE: Final = 10.0
"""Seconds over which it is seen whether the oldest message grows older."""

_GROWN: Final = 5.0
"""By how many seconds."""

Held = Callable[[], Backlog]
"""What a storage that is no Redis holds; it may raise anything."""


class Queue:
    """The queue *name*, whose pages *look* finds under *key*, at *server*.

    *held* asks a storage that is no Redis. *sources* are where its events may be.
    """

    def __init__(
        self,
        name: str,
        server: str,
        *,
        look: Look | None,
        key: str,
        held: Held | None,
        sources: Sequence[Source],
    ) -> None:
        self.name = name
        self.server = server
        self._look = look
        self._key = key
        self._held = held
        self._failures = Failures()
        self._streams = [FollowedStream(one, self._failures) for one in sources]
        self._pages = Pages()
        self._rates = Rates()
        self._ages: deque[tuple[float, float]] = deque()
        self._last = self.unseen()

    def unseen(self) -> Snapshot:
        """The snapshot before anything is known."""
        return Snapshot(queue=self.name, server=self.server, at=time.time())

    def close(self) -> None:
        """End what follows its streams."""
        for stream in self._streams:
            stream.close()

    def seen(self) -> Snapshot:
        """The snapshot of now; where no answer comes, what was known last."""
        stored: list[Stored] = []
        seen = Seen(self._key)
        if self._look is not None:
            told = f"{self._look.address} cannot be asked: "
            try:
                (seen,) = self._look([self._key], lambda _, page: stored.append(page))
            except BusyError as error:
                seen.away = str(error)
            seen.away = seen.away.removeprefix(told)
        now = seen.at or time.time()
        if self._held is None:
            away, backlog = seen.away, _of_redis(seen)
        else:
            # What is not on Redis is there while that is away.
            seen.no_pages = seen.no_pages or seen.away
            away, backlog = self._asked(self._held)
        if away:
            self._last = replace(self._last, at=now, away=away)
        else:
            self._last = self._snapshot(now, backlog, seen, stored)
        return self._last

    @staticmethod
    def _asked(held: Held) -> tuple[str, Backlog]:
        """Why a storage that is no Redis does not answer, and what it holds."""
        try:
            return "", held()
        except Exception as error:  # noqa: BLE001 - whatever a storage may raise
            return said(error), Backlog()

    def caught_up(self) -> Snapshot:
        """The snapshot of now, once all failures that the stream has are read."""
        for stream in self._streams:
            stream.catch_up()
        return self.seen()

    def _snapshot(
        self, now: float, backlog: Backlog, seen: Seen, stored: Sequence[Stored]
    ) -> Snapshot:
        pages = self._pages.read(stored, now)
        self._rates.take(pages)
        window, rates = self._rates.rates(pages, now)
        for stream in self._streams:
            stream.look()
        followed = [stream for stream in self._streams if stream.is_there]
        troubles = [stream.trouble for stream in self._streams if stream.trouble]
        trimmed = [stream.trimmed for stream in followed]
        return Snapshot(
            queue=self.name,
            server=self.server,
            at=now,
            backlog=replace(backlog, grows=self._grows(now, backlog.oldest)),
            fleet=of_pages.fleet(pages, now) if pages else None,
            running=of_pages.running(pages, now),
            rates=rates,
            window=window,
            periodic=of_pages.periodic(pages, now),
            failing=self._failures.failing(now) if followed else None,
            failures=self._failures.latest(),
            missed=sum(stream.missed for stream in followed),
            trimmed=None if None in trimmed else sum(one or 0 for one in trimmed),
            unknown=Unknown(
                backlog=seen.no_backlog,
                pages=seen.no_pages or _skipped(seen.bad),
                events="; ".join(troubles),
            ),
        )

    def _grows(self, now: float, oldest: float | None) -> bool:
        """Whether the oldest message has grown older for a while."""
        ages = self._ages
        ages.append((now, oldest or 0.0))
        while len(ages) > 1 and ages[1][0] <= now - _WHILE:
            ages.popleft()
        return (oldest or 0.0) - ages[0][1] >= _GROWN


def _skipped(pages: Sequence[Skipped]) -> str:
    """What *pages* are not read, and why the first of them is not."""
    if not pages:
        return ""
    others = len(pages) - 1
    more = f", and {others:,} more page{'s' * (others > 1)}" if others else ""
    return f"{pages[0].key} {pages[0].why}{more}"


def _of_redis(seen: Seen) -> Backlog:
    held = seen.backlog
    if held is None:
        return Backlog()
    return Backlog(
        waiting=held.waiting,
        scheduled=held.scheduled,
        results=held.results,
        oldest=held.oldest,
        overdue=held.overdue,
    )
