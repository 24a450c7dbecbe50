"""The feed: publishes events on Redis, on its own thread and connection."""

import json
import threading
from collections import deque
from typing import Final

from huey_otel import _names as n
from huey_otel._emitter import Link, RedisEventEmitter, RefusedError
from huey_otel._forks import in_child
from huey_otel._guard import guarded
from huey_otel._losses import LOSSES
from huey_otel._records import Key, Record, Source, Sum, to_event
from huey_otel.mapping import TABLE, Published

BOUND: Final = 8 << 20
"""Bytes of events that wait for Redis; then the oldest go."""

_WINDOW: Final = 16 << 10
"""Bytes that are sent before answers are awaited."""

_PATIENCE: Final = 2.0
"""Seconds without an answer, after which a second connection is tried."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_REFUSED_PAUSE: Final = 60.0

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class Feed:
    """A sink that publishes each event as JSON on *channel*.

    A Redis that is away, hangs, or refuses holds up nothing but the feed. Each
    event is published once or counted as lost: one whose answer did not come
    because the connection broke is counted.
    """

    def __init__(self, emitter: RedisEventEmitter, channel: str) -> None:
        self._emitter = emitter
        self.channel = channel
        self._link: Link | None = None
        self._begin()
        in_child(self._after_fork)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._sending = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        self._hang_up()
        self._begin()

    def __call__(self, record: Record, source: Source) -> None:
        """Take *record* in if Redis readers get it; never blocks."""
        if TABLE[record.status].published is Published.NEVER:
            return
        payload = _dumps(to_event(record, source)).encode("utf-8", "backslashreplace")
        dropped = 0
        with self._changed:
            self._waiting.append(payload)
            self._bytes += len(payload)
            while self._bytes > BOUND:
                self._bytes -= len(self._waiting.popleft())
                dropped += 1
            if self._thread is None:
                self._start()
            self._changed.notify()
        if dropped:
            why = f"{self._emitter.address} takes fewer events than there are"
            LOSSES.count(n.LOSS_FEED_FULL, dropped, why=why)

    def add_sum(self, key: Key, total: Sum, source: Source) -> None:
        """Nothing: readers get events, and these are gone and counted."""

    @property
    def server(self) -> str:
        """Where it publishes, for people."""
        return self._emitter.address

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are delivered; True if so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._sending, timeout
            )

    def close(self, timeout: float) -> None:
        """Flush, then end thread and connection; what is left then is lost."""
        self.flush(timeout)
        with self._changed:
            self._closed = True
            left = len(self._waiting) + self._sending
            self._waiting.clear()
            self._bytes = self._sending = 0
            self._changed.notify_all()
        if left:
            why = f"{self._emitter.address} did not take all events before the end"
            LOSSES.count(n.LOSS_FEED_SHUTDOWN, left, why=why)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="huey-otel-feed", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self) -> None:
        pause = 0.0
        while self._await_events(pause):
            next_pause = self._try_to_publish(pause)
            if next_pause is None:
                self._give_up(n.LOSS_FEED_UNCONFIRMED, "could not be written to")
                next_pause = _LONGEST_PAUSE
            pause = next_pause
        self._hang_up()

    @guarded
    def _try_to_publish(self, pause: float) -> float:
        """Publish what waits; seconds to pause then, after one of *pause*."""
        from redis.exceptions import RedisError

        try:
            self._publish()
        except RefusedError as refusal:
            self._give_up(n.LOSS_FEED_REFUSED, f"refuses events: {refusal}")
            return _REFUSED_PAUSE
        except (RedisError, OSError) as error:
            self._give_up(n.LOSS_FEED_UNCONFIRMED, f"is away: {error}")
            return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        return 0.0

    def _await_events(self, pause: float) -> bool:
        """Wait for events, and at least *pause* seconds; False once closed."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._closed, pause)
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return not self._closed

    def _publish(self) -> None:
        """Publish until nothing waits."""
        link = self._ready_link()
        while payloads := self._take():
            link.send(self.channel, payloads)
            refused = []
            while link.unanswered and not self._closed:
                answer = link.answer(_PATIENCE)
                if answer is None:
                    self._ask_again(link)
                elif isinstance(answer, Exception):
                    refused.append(answer)
                else:
                    self._answered()
            if refused:
                raise RefusedError(str(refused[0]))
        LOSSES.recovered(
            self._streak, message=f"events go to {self._emitter.address} again"
        )
        LOSSES.recovered(n.LOSS_FEED_FULL)

    def _take(self) -> list[bytes]:
        """As many events as are sent in one go, at least one if any waits."""
        taken: list[bytes] = []
        room = _WINDOW
        with self._changed:
            while self._waiting and (not taken or len(self._waiting[0]) <= room):
                payload = self._waiting.popleft()
                room -= len(payload)
                self._bytes -= len(payload)
                taken.append(payload)
            self._sending = len(taken)
        return taken

    def _answered(self) -> None:
        with self._changed:
            self._sending = max(0, self._sending - 1)
            if not self._sending:
                self._changed.notify_all()

    def _ready_link(self) -> Link:
        from redis.exceptions import RedisError

        if self._link is not None:
            try:
                if not self._link.stale():
                    return self._link
            except (RedisError, OSError):
                # Closed while idle, as Redis' own `timeout` does: nothing is lost.
                pass
            self._hang_up()
        link = Link(self._emitter)
        link.open()
        self._link = link
        return link

    def _ask_again(self, silent: Link) -> None:
        """Find out on a second connection whether Redis hangs or only the first one.

        One that hangs goes on where it stood and answers what it was sent,
        so nothing is given up while no other connection is served either.
        """
        from redis.exceptions import RedisError

        second = Link(self._emitter)
        try:
            second.open()
        except (RefusedError, RedisError, OSError) as error:
            self._away(f"does not answer: {error}")
            return
        second.close()
        if not silent.stale():
            raise OSError("the connection is dead, its answers never came")

    def _give_up(self, reason: str, what: str) -> None:
        """Count what was sent and not answered, and begin with a new connection."""
        self._hang_up()
        with self._changed:
            lost, self._sending = self._sending, 0
            self._changed.notify_all()
        self._away(what, reason, lost)

    @property
    def _streak(self) -> str:
        return f"{self._emitter.address} {self.channel}"

    def _away(
        self, what: str, reason: str = n.LOSS_FEED_UNCONFIRMED, lost: int = 0
    ) -> None:
        why = f"{self._emitter.address} {what}; events wait for it"
        LOSSES.count(reason, lost, streak=self._streak, why=why)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
