"""The publisher: sends events to Redis, on its own thread and connection."""

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from huey_otel import _names as n
from huey_otel._options.values import Stream
from huey_otel._redis.connection import PublishingConnection, RefusedError
from huey_otel._safety.forks import in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.redaction import said
from huey_otel._safety.threads import start
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._storage.failover import MasterCheck
from huey_otel._wire.numbering import Numbering
from huey_otel._wire.record import Record, Source

if TYPE_CHECKING:
    from huey_otel._redis.stream import StreamWriter

_LARGEST_OUTBOX: Final = 8 << 20
"""Bytes of events that wait for Redis; then the oldest go."""

_LARGEST_WRITE: Final = 16 << 10
"""Bytes that are sent before answers are awaited."""

_PATIENCE: Final = 2.0
"""Seconds without an answer, after which a second connection is tried."""

_LONGEST_SILENCE: Final = 30.0
"""Seconds after which an unanswered connection is dead, if a second one is answered.

Redis answers a PING and keeps a PUBLISH waiting in a CLIENT PAUSE WRITE, as of a
failover, so a few seconds prove nothing.
"""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_REFUSED_PAUSE: Final = 60.0


class Publisher:
    """A sink that publishes each event as JSON on *channel*.

    A Redis that is away, hangs, or refuses delays only the publisher's thread. Each
    event is published once or counted as lost: one whose answer did not come
    because the connection broke is counted, and so is one that reached no subscriber
    because its server had become a replica. With *stream* Redis keeps the last ones.
    """

    def __init__(
        self,
        emitter: RedisEventEmitter,
        channel: str,
        queue: str,
        stream: Stream | None = None,
    ) -> None:
        self._emitter = emitter
        self.channel = channel
        self._queue = queue
        self.server = emitter.address
        self.stream = None if stream is None else self._writer_of(stream)
        self._streak = f"{self.server} {channel}"
        self._connection: PublishingConnection | None = None
        self._start_over()
        in_child(self._after_fork)

    def _writer_of(self, stream: Stream) -> "StreamWriter":
        # Most processes write none.
        from huey_otel._redis.stream import StreamWriter

        return StreamWriter(stream, self.channel, self.server, self._queue)

    def _start_over(self) -> None:
        self._numbering = Numbering()
        self._outbox = _Outbox()
        self._thread: threading.Thread | None = None
        self._master_check = MasterCheck()

    def _after_fork(self) -> None:
        self._disconnect()
        self._start_over()

    def __call__(self, record: Record, source: Source) -> None:
        """Put *record* in the outbox if it is published; never blocks."""
        event = self._numbering.event_of(record, source)
        if event is None:
            return
        dropped = self._outbox.put(event.encode())
        if self._outbox.closed:
            if dropped:
                why = f"{self.server} gets no events after the end"
                self._count(n.LOSS_FEED_SHUTDOWN, dropped, why)
            return
        if self._thread is None:
            self._start_thread()
        if dropped:
            why = f"{self.server} takes fewer events than there are"
            self._count(n.LOSS_FEED_FULL, dropped, why)

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are delivered; True if so."""
        return self._outbox.flush(timeout)

    def close(self, timeout: float) -> None:
        """Flush, then end thread and connection; what is left then is lost."""
        self.flush(timeout)
        left = self._outbox.close()
        if left:
            why = f"{self.server} did not take all events before the end"
            self._count(n.LOSS_FEED_SHUTDOWN, left, why)

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._run, name="huey-otel-publisher", daemon=True
        )
        started = False
        try:
            self._thread = thread
            started = start(thread, "the publisher's thread")
        finally:
            if not started:
                # The next event tries again.
                self._thread = None

    def _run(self) -> None:
        pause = 0.0
        # Another thread takes over if the start of this one was interrupted.
        me = threading.current_thread()
        while self._outbox.wait(pause) and self._thread is me:
            next_pause = self._try_to_publish(pause)
            if next_pause is None:
                self._give_up(n.LOSS_FEED_UNCONFIRMED, "could not be written to")
                next_pause = _LONGEST_PAUSE
            pause = next_pause
        if self._thread is me:
            self._disconnect()

    @guarded
    def _try_to_publish(self, pause: float) -> float:
        """Publish what waits, after *pause* seconds; returns the next pause."""
        from redis.exceptions import RedisError

        pid = os.getpid()
        try:
            try:
                self._publish()
            finally:
                # A child disconnects, also below a greenlet that reads an answer.
                stay_where_forked(pid)
        except RefusedError as refusal:
            self._give_up(n.LOSS_FEED_REFUSED, f"refuses events: {said(refusal)}")
            return _REFUSED_PAUSE
        except (RedisError, OSError) as error:
            self._give_up(n.LOSS_FEED_UNCONFIRMED, f"is away: {said(error)}")
            return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        return 0.0

    def _publish(self) -> None:
        confirmed = False
        connection = self._connected()
        while payloads := self._outbox.take():
            connection.send(payloads)
            confirmed = self._await_answers(connection)
            if self.stream is not None and self.stream.found_replica:
                self.stream.found_replica = False
                self._master_check.hurry()
            if self._master_check.is_due():
                connection = self._connected()
        if confirmed:
            LOSSES.recovered(self._streak, message=f"events go to {self.server} again")
            LOSSES.recovered(n.LOSS_FEED_FULL)

    def _await_answers(self, connection: PublishingConnection) -> bool:
        """Wait until all sent events are answered; False if closed before."""
        refused = []
        silent_since: float | None = None
        while connection.unanswered:
            if self._outbox.closed:
                return False
            answer = connection.answer(_PATIENCE)
            if answer is None:
                silent_since = self._check_silence(connection, silent_since)
                continue
            silent_since = None
            if isinstance(answer, Exception):
                refused.append(answer)
                continue
            try:
                if self.stream is not None and not connection.unanswered:
                    # First: a process may end once all events are delivered.
                    self.stream.renew(connection.ask)
            finally:
                self._outbox.answered()
            if not answer:
                self._master_check.unheard += 1
        if refused:
            raise RefusedError(str(refused[0]))
        return True

    def _connected(self) -> PublishingConnection:
        """The connection, made again if it does not lead to the master now."""
        from redis.exceptions import RedisError

        check = self._master_check
        if self._connection is not None:
            try:
                if not (
                    self._connection.stale()
                    or check.must_reconnect(self._connection.ask)
                ):
                    return self._connection
            except (RedisError, OSError):
                # Closed while idle, as Redis' own `timeout` does: nothing is lost.
                pass
            self._disconnect()
        connection = PublishingConnection(
            self._emitter.connections, self.channel, self.stream
        )
        self._connection = connection
        self._report_role(check.connected(connection.ask))
        return connection

    def _report_role(self, in_vain: int | None) -> None:
        streak = f"{n.LOSS_FEED_REPLICA} {self._streak}"
        if in_vain is not None:
            why = f"{self.server} had become a replica; events follow to the new master"
            self._count(n.LOSS_FEED_REPLICA, in_vain, why, streak=f"{streak} left")
            LOSSES.recovered(f"{streak} left")
        if self._master_check.master is False:
            why = f"{self.server} is a replica; events that reach it go no further"
            self._count(n.LOSS_FEED_REPLICA, 0, why, streak=streak)
        else:
            LOSSES.recovered(streak)

    def _check_silence(
        self, silent: PublishingConnection, since: float | None
    ) -> float | None:
        """Find out on a second connection whether Redis hangs or only *silent*.

        A Redis that hangs answers later what it was sent, so nothing is given up while
        a second connection is not served either. *since*, and what is returned, is when
        a second one was first served while *silent* was not; None if it was not.
        """
        from redis.exceptions import RedisError

        try:
            second = PublishingConnection(self._emitter.connections, self.channel)
        except (RefusedError, RedisError, OSError) as error:
            self._report(f"does not answer: {said(error)}")
            return None
        second.close()
        if silent.stale():
            return None
        now = time.monotonic()
        if since is not None and now - since >= _LONGEST_SILENCE:
            raise OSError("the connection is dead, its answers never came")
        self._report("takes no events now")
        return now if since is None else since

    def _give_up(self, reason: str, what: str) -> None:
        """Disconnect, and count what was sent and not answered."""
        self._disconnect()
        self._report(what, reason, self._outbox.give_up())

    def _report(
        self, what: str, reason: str = n.LOSS_FEED_UNCONFIRMED, lost: int = 0
    ) -> None:
        then = "events wait for it"
        if lost:
            then = "new events wait, and those that it has not confirmed are lost"
        why = f"{self.server} {what}; {then}"
        self._count(reason, lost, why, streak=self._streak)

    def _count(
        self, reason: str, lost: int, why: str, *, streak: str | None = None
    ) -> None:
        LOSSES.count(reason, lost, why=why, queue=self._queue, streak=streak)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Outbox:
    """The bounded queue from the relay's thread to the publisher's, closed once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._unanswered = 0
        self._awaited = False
        self.closed = False

    def put(self, payload: bytes) -> int:
        """Append *payload*; how many of the oldest were dropped, or it once closed."""
        dropped = 0
        with self._changed:
            if self.closed:
                return 1
            self._waiting.append(payload)
            self._bytes += len(payload)
            while self._bytes > _LARGEST_OUTBOX:
                self._bytes -= len(self._waiting.popleft())
                dropped += 1
            if self._awaited:
                self._changed.notify_all()
        return dropped

    def wait(self, pause: float) -> bool:
        """Wait for events, and at least *pause* seconds; False once closed."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self.closed, pause)
            self._awaited = True
            self._changed.wait_for(lambda: self.closed or self._waiting)
            self._awaited = False
            return not self.closed

    def take(self) -> list[bytes]:
        """The events of one write, at least one if any waits."""
        taken: list[bytes] = []
        room = _LARGEST_WRITE
        with self._changed:
            while self._waiting and (not taken or len(self._waiting[0]) <= room):
                payload = self._waiting.popleft()
                room -= len(payload)
                self._bytes -= len(payload)
                taken.append(payload)
            self._unanswered = len(taken)
        return taken

    def answered(self) -> None:
        """Confirm one sent event; called by the publisher's thread."""
        if self._unanswered > 1:
            # No thread waits for this, and only this one writes it before `close`.
            self._unanswered -= 1
            return
        with self._changed:
            self._unanswered = max(0, self._unanswered - 1)
            if not self._unanswered:
                self._changed.notify_all()

    def give_up(self) -> int:
        """Stop awaiting answers; how many were missing."""
        with self._changed:
            lost, self._unanswered = self._unanswered, 0
            self._changed.notify_all()
        return lost

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are answered; True if so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._unanswered, timeout
            )

    def close(self) -> int:
        """End all waiting; how many events are not delivered."""
        with self._changed:
            self.closed = True
            left = len(self._waiting) + self._unanswered
            self._waiting.clear()
            self._bytes = self._unanswered = 0
            self._changed.notify_all()
        return left
