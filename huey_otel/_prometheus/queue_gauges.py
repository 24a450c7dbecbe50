"""The queue gauges: how much a storage holds, asked on a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from huey.storage import BaseSqlStorage
from opentelemetry import context as contexts

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, Labels
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import described
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else
from huey_otel._storage.contents import Contents, Meaning, contents
from huey_otel._storage.failover import Ask, MasterCheck
from huey_otel._storage.optional_commands import OptionalCommands
from huey_otel._storage.own import our_own

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_SHOWN: Final[Mapping[str, Callable[[Contents], float | None]]] = {
    n.QUEUE_LENGTH: lambda held: held.queue,
    n.QUEUE_OLDEST_AGE: lambda held: held.oldest,
    n.SCHEDULE_LENGTH: lambda held: held.schedule,
    n.SCHEDULE_OVERDUE_AGE: lambda held: held.overdue,
    n.RESULTS: lambda held: held.results,
}

_LONGEST_WAIT: Final = 1.0
"""Seconds that a scrape waits for a storage."""

_SOON: Final = 0.5
"""Seconds that a check waits for it: less than a probe of Kubernetes waits for us."""


class _Asked(threading.local):
    """What the storages have answered the current thread, for its next scrape."""

    answers: dict[str, Contents] | None = None


class QueueGauges:
    """A collector of the gauges of all queues; starts nothing before a scrape.

    Of a queue whose storage hangs or raises only huey_storage_up is shown. A scrape
    calls `ask` before it takes COLLECTING; nothing may collect under EXCLUSION.
    """

    def __init__(self) -> None:
        self._pollers: dict[int, Poller] = {}
        self._asked = _Asked()
        in_child(self._after_fork)

    def add(
        self, number: int, queue: str, storage: Callable[[], Any], meaning: Meaning
    ) -> None:
        """Show *queue* of source *number*; *storage* returns the one it has now."""
        self.remove(number)
        self._pollers[number] = Poller(queue, storage, meaning)

    def remove(self, number: int) -> None:
        """Stop showing the queue of source *number*."""
        poller = self._pollers.pop(number, None)
        if poller is not None:
            poller.close()

    def held(self, number: int) -> Contents | None:
        """What the storage of source *number* holds; None if it is slow or raises."""
        poller = self._pollers.get(number)
        if poller is None:
            return None
        answer = poller.ask()
        answer.given.wait(_SOON)
        return answer.contents

    def ask(self) -> None:
        """Ask all storages for the next `collect` of this thread."""
        self._asked.answers = self._answers()

    def collect(self) -> "Iterator[Metric]":
        """Which storages answer, and the gauges of their queues."""
        # A process that runs no consumer imports no prometheus_client for it.
        from huey_otel._prometheus.exposition import NumberFamily

        answers, self._asked.answers = self._asked.answers, None
        if answers is None:
            answers = self._answers()
        up: dict[Labels, float] = {
            (poller.queue,): float(poller.queue in answers)
            for poller in list(self._pollers.values())
        }
        yield NumberFamily(CATALOG[n.STORAGE_UP], up)
        for name, told in _SHOWN.items():
            all_told = ((queue, told(held)) for queue, held in answers.items())
            values: dict[Labels, float] = {
                (queue,): one for queue, one in all_told if one is not None
            }
            yield NumberFamily(CATALOG[name], values)

    def _answers(self) -> dict[str, Contents]:
        asked = [(poller, poller.ask()) for poller in list(self._pollers.values())]
        answers: dict[str, Contents] = {}
        for poller, answer in asked:
            held = poller.wait(answer)
            if held is not None:
                answers.setdefault(poller.queue, held)
        return answers

    def _after_fork(self) -> None:
        self._asked = _Asked()
        for poller in self._pollers.values():
            poller.renew()


class Answer:
    """The answer of a storage; `contents` is None until it is `given`."""

    def __init__(self) -> None:
        self.until = time.monotonic() + _LONGEST_WAIT
        self.contents: Contents | None = None
        self.given = threading.Event()


class Poller:
    """Asks the storage of one queue how much it holds.

    Its thread starts with the first question. One question is under way at a
    time: a scrape that comes while the storage hangs does not wait again.
    """

    def __init__(
        self, queue: str, storage: Callable[[], Any], meaning: Meaning
    ) -> None:
        self.queue = queue
        self._storage = storage
        self._meaning = meaning
        self._known: Any = None
        self._own: Any = None
        self._optional: OptionalCommands | None = None
        self._master_check: MasterCheck | None = None
        self.renew()

    def renew(self) -> None:
        """Forget the thread and its question, as a forked child must."""
        self._changed = threading.Condition()
        self._answer: Answer | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self) -> Answer:
        """Ask the storage, unless a question is still under way."""
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
        """What the storage holds; None if *answer* is not given within a second."""
        if not answer.given.wait(max(0.0, answer.until - time.monotonic())):
            self._missing("did not answer in time")
        return answer.contents

    def close(self) -> None:
        """End the thread, as soon as the storage lets it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        # A scrape's questions to the storage make no spans.
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
                self._streak, message=f"the storage of {self.queue!r} answers again"
            )
        finally:
            answer.given.set()

    def _contents(self) -> Contents:
        storage = self._storage()
        if storage is not self._known:
            self._let_go()
            self._own, self._optional = our_own(storage)
            self._known = storage
        own = self._own
        if self._optional is not None:
            self._follow(partial(self._optional.send_by, own.conn))
        try:
            return contents(self.queue, own, self._meaning)
        finally:
            if own is not storage and isinstance(own, BaseSqlStorage):
                # An open SQLite file must not be inherited by a fork.
                own.close()

    def _let_go(self) -> None:
        own, is_redis = self._own, self._optional is not None
        self._known = self._own = self._master_check = self._optional = None
        if is_redis:
            own.conn.connection_pool.disconnect()

    def _follow(self, ask: Ask) -> None:
        """Reconnect if the server's name leads to another master now."""
        if self._master_check is None:
            self._master_check = MasterCheck()
        elif self._master_check.must_reconnect(ask):
            self._own.conn.connection_pool.disconnect()
        else:
            return
        self._master_check.connected(ask)

    @property
    def _streak(self) -> str:
        return f"{n.LOSS_GAUGES} of {self.queue}"

    def _missing(self, how: str) -> None:
        LOSSES.count_streak(
            n.LOSS_GAUGES,
            streak=self._streak,
            why=f"the storage of {self.queue!r} {how}, its gauges are absent",
            queue=self.queue,
        )
