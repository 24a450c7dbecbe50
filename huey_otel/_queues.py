"""The queue gauges: how much a storage holds, asked when somebody scrapes."""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._families import Labels, described, shown
from huey_otel._forks import in_child
from huey_otel._questions import Inquirer, Lengths

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_NAMES: Final = (n.QUEUE_LENGTH, n.SCHEDULE_LENGTH)


class _Asked(threading.local):
    """What the current thread has asked already, for the scrape that it makes next."""

    answers: dict[str, Lengths] | None = None


class Queues:
    """A collector of the gauges of all queues; starts nothing before a scrape.

    A queue whose storage hangs or raises is absent, until it answers. Never
    collected while EXCLUSION is held; who holds COLLECTING calls `ask` before.
    """

    def __init__(self) -> None:
        self._inquirers: dict[int, tuple[str, Inquirer]] = {}
        self._asked = _Asked()
        in_child(self._after_fork)

    def add(self, number: int, queue: str, storage: Callable[[], Any]) -> None:
        """Show *queue* of source *number*; *storage* gives what it has now."""
        self.remove(number)
        self._inquirers[number] = (queue, Inquirer(queue, storage))

    def remove(self, number: int) -> None:
        """Show the queue of source *number* no more."""
        _, inquirer = self._inquirers.pop(number, (None, None))
        if inquirer is not None:
            inquirer.close()

    def ask(self) -> None:
        """Ask all storages; the next `collect` of this thread has their answers."""
        self._asked.answers = self._answers()

    def describe(self) -> "list[Metric]":
        """All names, so that a registry need not collect to know them."""
        return described(_NAMES)

    def collect(self) -> "Iterator[Metric]":
        """The gauges of the queues whose storages answer."""
        answers, self._asked.answers = self._asked.answers, None
        if answers is None:
            answers = self._answers()
        queue: dict[Labels, float] = {}
        schedule: dict[Labels, float] = {}
        for name, lengths in answers.items():
            queue[name,] = lengths.queue
            schedule[name,] = lengths.schedule
        yield shown(n.QUEUE_LENGTH, queue)
        yield shown(n.SCHEDULE_LENGTH, schedule)

    def _answers(self) -> dict[str, Lengths]:
        asked = [(*pair, pair[1].ask()) for pair in list(self._inquirers.values())]
        answers: dict[str, Lengths] = {}
        for queue, inquirer, answer in asked:
            lengths = inquirer.wait(answer)
            if lengths is not None:
                answers.setdefault(queue, lengths)
        return answers

    def _after_fork(self) -> None:
        self._asked = _Asked()
        for _, inquirer in self._inquirers.values():
            inquirer.begin_anew()
