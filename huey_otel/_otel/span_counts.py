"""Counts of spans in shared memory, to know what a killed worker did not deliver."""

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice, repeat
from multiprocessing import current_process, util
from multiprocessing.process import BaseProcess
from operator import setitem
from typing import Any, Final

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES

_ENDED, _EXPORTED, _COUNTED = range(3)
_SIZE: Final = 3 * 8
_STREAK: Final = "spans of dead workers"
_SET: Final[Callable[[Any, int, int], None]] = setitem


class SpanCounts:
    """Counts the spans of one process, in *memory* that another one may read.

    `next(ended)` counts a span that ended. That is a single call into C: no
    thread or signal handler interrupts it, a kill leaves a whole number, and there
    is no lock.
    """

    def __init__(self, memory: Any = None) -> None:
        self.shared = memory is not None
        memory = bytearray(_SIZE) if memory is None else memory
        self._cells = memoryview(memory)[:_SIZE].cast("Q")
        self.ended = self._counter(_ENDED)
        self._exported = self._counter(_EXPORTED)
        self._counted = self._counter(_COUNTED)

    def _counter(self, cell: int) -> Iterator[None]:
        return map(_SET, repeat(self._cells), repeat(cell), count(1))

    def exported(self, number: int) -> None:
        """Count *number* spans that have arrived."""
        _advance(self._exported, number)

    def counted(self, number: int) -> None:
        """Count *number* spans that this process has counted as lost."""
        _advance(self._counted, number)

    @property
    def left(self) -> int:
        """How many this process may still export."""
        return max(0, self.missing - self._cells[_COUNTED])

    @property
    def missing(self) -> int:
        """How many have not arrived, whether or not they are counted as lost."""
        return self._cells[_ENDED] - self._cells[_EXPORTED]

    @property
    def delivers(self) -> bool:
        """Whether any have arrived."""
        return self._cells[_EXPORTED] > 0


def _advance(counter: Iterator[None], number: int) -> None:
    deque(islice(counter, number), maxlen=0)


class _Processes:
    """The counts of this process, and of the workers that are its children.

    A worker has a page of memory of its own, made before it is forked. All
    other children count in private memory.
    """

    def __init__(self) -> None:
        self.here = SpanCounts()
        self._workers: dict[BaseProcess, SpanCounts] = {}
        self._told: dict[int, int] = {}
        self._inherited = self._workers
        in_child(self._after_fork)
        util.register_after_fork(self, _Processes._adopt)

    def prepare(self, worker: BaseProcess) -> None:
        """Make shared memory for the counts of *worker*, before it is started."""
        if worker not in self._workers:
            self._workers[worker] = SpanCounts(mmap.mmap(-1, _SIZE))

    def told(self, pid: int, number: int) -> None:
        """Note that the worker *pid* has reported *number* spans as lost."""
        self._told[pid] = self._told.get(pid, 0) + number

    @guarded
    def gone(self, pid: int) -> None:
        """Count what the dead worker *pid* lost; all its reports have been read."""
        for worker, counts in list(self._workers.items()):
            if worker.pid == pid:
                del self._workers[worker]
                _count(counts, counts.missing - self._told.pop(pid, 0))

    def _after_fork(self) -> None:
        self.here = SpanCounts()
        self._told = {}
        self._inherited, self._workers = self._workers, {}

    def _adopt(self) -> None:
        """Use the shared counts, once a child knows which worker it is."""
        inherited, self._inherited = self._inherited, {}
        self.here = inherited.get(current_process(), self.here)


def _count(counts: SpanCounts, lost: int) -> None:
    if counts.delivers or lost <= 0:
        # Workers that die again and again and deliver nothing are one streak.
        LOSSES.recovered(_STREAK)
    if lost > 0:
        why = f"a worker died before it had heard that {lost} spans arrived"
        LOSSES.count(n.LOSS_SPANS, lost, streak=_STREAK, why=why)


SPANS: Final = _Processes()
