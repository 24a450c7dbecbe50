"""The record: one step of a task's life, as it travels from a worker to the sinks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol


class TaskFacts(NamedTuple):
    """What all records of one attempt say of its task. Times in Unix seconds.

    The ids are those of the attempt's span, hexadecimal, None unless sampled.
    """

    id: str
    task: str
    name: str
    retry_delay: float | None
    execute_time: float | None
    attempt: int
    trace_id: str | None = None
    span_id: str | None = None
    parent_id: str | None = None

    def within(self, trace_id: str, span_id: str, parent_id: str | None) -> "TaskFacts":
        """The same facts with the ids of a span; half the time of `_replace`."""
        identity, task, name, retry_delay, execute_time, attempt, *_ = self
        return TaskFacts(
            *(identity, task, name, retry_delay, execute_time, attempt),
            *(trace_id, span_id, parent_id),
        )


class Record(NamedTuple):
    """A step, before it becomes an event or moves a metric.

    *source* says which instrumented huey it belongs to, *pid* and *key* which
    message in which process (0: none). *extra* holds the event's further
    keys, *start* what only a span must know, see SpanStart. A plain tuple of it
    is what crosses the pipe, so its fields hold only what `marshal` knows.
    """

    source: int
    status: str
    timestamp: float
    pid: int
    key: int
    worker: str | None
    facts: tuple[Any, ...] | None
    retries: float | None
    extra: dict[str, Any] | None
    start: tuple[Any, ...] | None = None


record_of: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)
"""A Record of its fields; what is on a task's path does without a call in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is the same for all records of one instrumented huey in one consumer."""

    queue: str
    host: str
    worker_type: str | None = None


KEYED: Final = ("outcome", "final", "exception", "origin", "reason")
"""The extra keys that metrics count by."""

Key = tuple[int, str, str | None, *tuple[str | None, ...]]
"""Source, status, task's dotted path, and the values of KEYED."""

Sum = tuple[int, int, float, float, dict[float, int]]
"""What Total is made of, as it crosses the pipe."""


class Total(NamedTuple):
    """What records that did not fit come to, if they are alike but for their numbers.

    `number` of records and `reported` of what they tell, which is more where
    one tells of several. `last` is the latest timestamp. `seconds` is the total
    of those that the status' row in the mapping names, `values` how many there
    were of each, rounded up to three significant digits: a histogram whose
    bounds have no more digits stays exact.
    """

    number: int
    reported: int
    last: float
    seconds: float
    values: dict[float, int]


class Sink(Protocol):
    """Takes records. Runs in the relay, never in a task, and must not block."""

    def __call__(self, record: Record, source: Source, /) -> None: ...

    def add_sum(self, key: Key, total: Sum, source: Source, /) -> None:
        """Take the sum of records that did not fit; their narrative is lost."""
