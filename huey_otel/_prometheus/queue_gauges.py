"""The queue gauges: how much a storage holds, asked when somebody scrapes."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._prometheus.poller import Inquirer
from huey_otel._prometheus.series import Labels, shown
from huey_otel._safety.forks import in_child
from huey_otel._storage.contents import Contents, Meaning

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_SHOWN: Final[Mapping[str, Callable[[Contents], float | None]]] = {
    n.QUEUE_LENGTH: lambda held: held.queue,
    n.QUEUE_OLDEST_AGE: lambda held: held.oldest,
    n.SCHEDULE_LENGTH: lambda held: held.schedule,
    n.SCHEDULE_OVERDUE_AGE: lambda held: held.overdue,
    n.RESULTS: lambda held: held.results,
}


class _Asked(threading.local):
    """What the current thread has asked already, for the scrape that it makes next."""

    answers: dict[str, Contents] | None = None


class Queues:
    """A collector of the gauges of all queues; starts nothing before a scrape.

    A queue whose storage hangs or raises is absent, until it answers. Never
    collected while EXCLUSION is held; who holds COLLECTING calls `ask` before.
    """

    def __init__(self) -> None:
        self._inquirers: dict[int, tuple[str, Inquirer]] = {}
        self._asked = _Asked()
        in_child(self._after_fork)

    def add(
        self,
        number: int,
        queue: str,
        storage: Callable[[], Any],
        meaning: Meaning = Meaning(),  # noqa: B008 - it never changes
    ) -> None:
        """Show *queue* of source *number*; *storage* gives what it has now."""
        self.remove(number)
        self._inquirers[number] = (queue, Inquirer(queue, storage, meaning))

    def remove(self, number: int) -> None:
        """Show the queue of source *number* no more."""
        _, inquirer = self._inquirers.pop(number, (None, None))
        if inquirer is not None:
            inquirer.close()

    def ask(self) -> None:
        """Ask all storages; the next `collect` of this thread has their answers."""
        self._asked.answers = self._answers()

    def collect(self) -> "Iterator[Metric]":
        """The gauges of the queues whose storages answer."""
        answers, self._asked.answers = self._asked.answers, None
        if answers is None:
            answers = self._answers()
        for name, told in _SHOWN.items():
            values: dict[Labels, float] = {}
            for queue, held in answers.items():
                value = told(held)
                if value is not None:
                    values[queue,] = value
            yield shown(name, values)

    def _answers(self) -> dict[str, Contents]:
        asked = [(*pair, pair[1].ask()) for pair in list(self._inquirers.values())]
        answers: dict[str, Contents] = {}
        for queue, inquirer, answer in asked:
            held = inquirer.wait(answer)
            if held is not None:
                answers.setdefault(queue, held)
        return answers

    def _after_fork(self) -> None:
        self._asked = _Asked()
        for _, inquirer in self._inquirers.values():
            inquirer.begin_anew()
