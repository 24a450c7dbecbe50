"""Questions to a storage, asked on a thread of their own, with a bounded patience."""

import copy
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from huey.storage import BaseSqlStorage
from opentelemetry import context as contexts

from huey_otel import _names as n
from huey_otel._safety.log import described
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else
from huey_otel._storage.contents import Contents, Meaning, contents
from huey_otel._storage.emitter import of_storage
from huey_otel._storage.failover import Ask, MasterCheck
from huey_otel._storage.optional_commands import OptionalCommands

_PATIENCE: Final = 1.0
"""Seconds that a scrape waits for a storage."""


class Answer:
    """What the storage says to one question; `contents` None until it does."""

    def __init__(self) -> None:
        self.until = time.monotonic() + _PATIENCE
        self.contents: Contents | None = None
        self.given = threading.Event()


class Inquirer:
    """Asks the storage of one queue how much it holds.

    Its thread starts with the first question. One question is under way at a
    time: who asks while the storage hangs, learns at once that it does.
    """

    def __init__(
        self, queue: str, storage: Callable[[], Any], meaning: Meaning
    ) -> None:
        self._queue = queue
        self._storage = storage
        self._meaning = meaning
        self._known: Any = None
        self._own: Any = None
        self._optional: OptionalCommands | None = None
        self._master_check: MasterCheck | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin with no question, as a forked child does."""
        self._changed = threading.Condition()
        self._answer: Answer | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self) -> Answer:
        """Put the question, unless the last one is still under way."""
        with self._changed:
            if self._answer is not None and not self._answer.given.is_set():
                return self._answer
            self._answer = Answer()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="huey-otel-queues", daemon=True
                )
                self._thread.start()
            self._changed.notify()
            return self._answer

    def wait(self, answer: Answer) -> Contents | None:
        """What *answer* is; None if there is none within a second of the question."""
        if not answer.given.wait(max(0.0, answer.until - time.monotonic())):
            self._missing("did not answer in time")
        return answer.contents

    def close(self) -> None:
        """End the thread, as soon as the storage lets it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        # What a scrape asks is in nobody's trace.
        contexts.attach(contexts.set_value(n.SUPPRESS_INSTRUMENTATION, value=True))
        asked = None
        while True:
            with self._changed:
                while self._answer is asked and not self._closed:
                    self._changed.wait()
                asked = None if self._closed else self._answer
            if asked is None:
                self._let_go()
                return
            self._reply(asked)

    def _reply(self, answer: Answer) -> None:
        try:
            answer.contents = self._contents()
        except Exception as error:  # noqa: BLE001 - whatever a storage may raise
            or_else(self._let_go, lambda _: None)
            self._missing(f"raised {described(error)}")
        else:
            LOSSES.recovered(
                self._streak, message=f"the storage of {self._queue!r} answers again"
            )
        finally:
            answer.given.set()

    def _contents(self) -> Contents:
        storage = self._storage()
        if storage is not self._known:
            self._let_go()
            self._own, self._optional = _of_our_own(storage)
            self._known = storage
        own = self._own
        if self._optional is not None:
            self._follow(partial(self._optional.send_by, own.conn))
        try:
            return contents(self._queue, own, self._meaning)
        finally:
            if own is not storage and isinstance(own, BaseSqlStorage):
                # A connection to a file must not be there when somebody forks.
                own.close()

    def _let_go(self) -> None:
        own, is_redis = self._own, self._optional is not None
        self._known = self._own = self._master_check = self._optional = None
        if is_redis:
            own.conn.connection_pool.disconnect()

    def _follow(self, ask: Ask) -> None:
        """Ask where the name of the server leads now, which may be another master."""
        if self._master_check is None:
            self._master_check = MasterCheck()
        elif self._master_check.must_reconnect(ask):
            self._own.conn.connection_pool.disconnect()
        else:
            return
        self._master_check.connected(ask)

    @property
    def _streak(self) -> str:
        return f"{n.LOSS_GAUGES} of {self._queue}"

    def _missing(self, how: str) -> None:
        LOSSES.count_streak(
            n.LOSS_GAUGES,
            streak=self._streak,
            why=f"the storage of {self._queue!r} {how}, its gauges are absent",
        )


def _of_our_own(storage: Any) -> tuple[Any, OptionalCommands | None]:
    """A copy of *storage* that shares no connection and no lock with it.

    Of a Redis also which optional commands it answers.
    """
    emitter = of_storage(storage)
    if emitter is not None:
        own = copy.copy(storage)
        client = storage.conn if hasattr(storage.conn, "connection_pool") else None
        own.conn = emitter.connections.to_ask(client)
        return own, emitter.connections.optional
    if (
        isinstance(storage, BaseSqlStorage)
        and {"lock", "_conn"} <= vars(storage).keys()
    ):
        own = copy.copy(storage)
        vars(own).update(lock=threading.Lock(), _conn=None)
        return own, None
    return storage, None
