"""The page writer: leaves a consumer's metrics page in Redis, on its own thread."""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.redaction import said
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._wire.numbering import publisher
from huey_otel._wire.page import LIFETIME, Head, index_of, key_of, pack

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

_PAUSE: Final = 0.2
"""Seconds until the last page is tried again."""

Make = Callable[..., str | None]
"""Returns the text of the page as it is now; takes *gauges*, whether it has those."""


class Renewal:
    """A page that was asked for; `wait` returns whether it was written in time."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._written = False

    def end(self, *, written: bool) -> None:
        """Tell all that wait."""
        self._written = written
        self._over.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds; True if the page was written."""
        self._over.wait(timeout)
        return self._written


class PageWriter:
    """Writes the page of *head* at once, each interval, and when it is asked for.

    *storage* is the queue's name in its keys. A Redis that is away or refuses delays
    only this thread: nothing is lost but time, as each page has all that the one
    before had. The last page has no gauges.
    """

    def __init__(
        self, emitter: RedisEventEmitter, storage: str, head: Head, make: Make
    ) -> None:
        self._connections = emitter.connections
        self._server = emitter.address
        self._head = head
        self._make = make
        self._publisher = publisher()
        self._index = index_of(storage)
        self._key = key_of(storage, self._publisher)
        self._streak = f"{self._server} {self._key}"
        self._connection: AbstractConnection | None = None
        self._last_written = False
        self._renew()
        in_child(self._after_fork)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._asked: list[Renewal] = []
        self._thread: threading.Thread | None = None
        self._ending = self._closed = False

    def _after_fork(self) -> None:
        # The page is the parent's.
        self._disconnect()
        self._renew()
        self._closed = True

    def __str__(self) -> str:
        return f"each {self._head.interval:g} s in {self._index} of {self._server}"

    @property
    def is_taken(self) -> bool:
        """Whether Redis has taken the last page that it was sent after `end`."""
        return self._last_written

    def begin(self) -> None:
        """Start the thread; RuntimeError if that cannot be."""
        self._asked.append(Renewal())
        self._thread = threading.Thread(
            target=self._run, name="huey-otel-pages", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            self._closed = True
            raise

    def end(self) -> None:
        """The consumer ends: pages are written when asked for, without gauges."""
        with self._changed:
            self._ending = True

    def renew(self) -> Renewal:
        """Write a page as soon as possible."""
        asked = Renewal()
        with self._changed:
            if self._closed:
                asked.end(written=self._last_written)
            else:
                self._asked.append(asked)
                self._changed.notify_all()
        return asked

    def close(self) -> None:
        """End the thread; no page is written from now on."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._ending and not self._last_written:
            why = f"{self._server} did not take the last metrics page before the end"
            LOSSES.count(n.LOSS_PAGE_SHUTDOWN, why=why, queue=self._head.queue)

    def _run(self) -> None:
        pid = os.getpid()
        try:
            pause: float | None = 0.0
            while self._wait(pause):
                pause = self._serve()
        finally:
            stay_where_forked(pid)
            self._disconnect()

    def _wait(self, pause: float | None) -> bool:
        """Wait *pause* seconds, None for ever, or until asked; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._asked, pause)
            return not self._closed

    def _serve(self) -> float | None:
        """Write the page; returns the seconds until the next one."""
        began = time.monotonic()
        asked, ending = self._asked.copy(), self._ending
        outcome = self._write(ending=ending)
        if ending:
            self._last_written = outcome is _WRITTEN
            if outcome is _AWAY:
                # Those who wait for it have a limit of their own.
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, _PAUSE)
                return 0.0
        with self._changed:
            del self._asked[: len(asked)]
        for one in asked:
            one.end(written=outcome is _WRITTEN)
        if ending:
            return None
        return max(0.0, self._head.interval - (time.monotonic() - began))

    @guarded
    def _write(self, *, ending: bool) -> str:
        from redis import exceptions

        text = self._make(gauges=not ending)
        if text is None:
            return _WRITTEN
        page = pack(self._head._replace(ended=ending, at=time.time()), text)
        was_idle = self._connection is not None
        try:
            try:
                self._send(page)
            except (exceptions.RedisError, OSError):
                # An idle connection may be closed, or lead to a replica by now.
                if not was_idle:
                    raise
                self._disconnect()
                self._send(page)
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            self._disconnect()
            self._report(1, f"refuses the metrics page: {said(error)}")
            return _REFUSED
        except (exceptions.RedisError, OSError) as error:
            self._disconnect()
            self._report(0, f"is away, the metrics page waits for it: {said(error)}")
            return _AWAY
        LOSSES.recovered(
            self._streak, message=f"metrics pages go to {self._server} again"
        )
        return _WRITTEN

    def _report(self, lost: int, what: str) -> None:
        LOSSES.count(
            n.LOSS_PAGE_REFUSED,
            lost,
            why=f"{self._server} {what}",
            queue=self._head.queue,
            streak=self._streak,
        )

    def _send(self, page: bytes) -> None:
        """Write *page* and its entry in the index; raises what Redis answers."""
        from redis.exceptions import ResponseError

        connection: Any = self._connection
        if connection is None:
            connection = self._connections.to_write()
            connection.connect()
            self._connection = connection
        told = self._connections.optional.send(connection, "TIME")
        now = int(told[0]) if told else int(time.time())
        commands: list[tuple[Any, ...]] = [
            ("SET", self._key, page, "EX", LIFETIME),
            ("ZADD", self._index, now, self._publisher),
        ]
        if told:
            # By our own clock others' entries might seem old.
            commands.append(("ZREMRANGEBYSCORE", self._index, "-inf", now - LIFETIME))
        commands.append(("EXPIRE", self._index, LIFETIME))
        packed = connection.pack_commands(commands)
        connection.send_packed_command(packed, check_health=False)
        refusals = []
        for _ in commands:
            try:
                connection.read_response()
            except ResponseError as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


_WRITTEN: Final = "written"
_AWAY: Final = "away"
_REFUSED: Final = "refused"
