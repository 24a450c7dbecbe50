"""The record: one step of a task's life, as it travels from a worker to the sinks."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

COUNTED_BY: Final = ("outcome", "final", "exception", "origin", "reason")
"""The extra keys of a record that labels of metrics are made of; texts or None."""

NOT_IN_EVENTS: Final = ("outcome", "final", "after")
"""The extra keys that readers of events do not get; they get all others."""


class TaskFacts(NamedTuple):
    """What all records of one attempt say of its task. Times in Unix seconds.

    The ids are those of the attempt's span as numbers, None unless sampled.
    """

    id: str
    task: str
    name: str
    retry_delay: float | None
    execute_time: float | None
    attempt: int
    trace_id: int | None = None
    span_id: int | None = None


facts_of: Final[Callable[[tuple[Any, ...]], TaskFacts]] = partial(
    tuple.__new__, TaskFacts
)
"""Makes TaskFacts of all its fields without a call in Python: every task needs some."""


class Record(NamedTuple):
    """A step, before it becomes an event or moves a metric.

    *source* says which instrumented huey it belongs to, *pid* and *key* which
    message in which process (0: none). *extra* holds the event's further
    keys, *start* what only its span must know, see `_wire/span.py`. A plain tuple of it
    is what crosses the pipe, so its fields hold only what `marshal` knows.
    One that `sums_up` stands for many, see `_relay/overflow.py`.
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

    @property
    def sums_up(self) -> bool:
        """Whether it stands for records that did not fit; it is no event then."""
        return self.extra is not None and "number" in self.extra


record_of: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)
"""Makes a Record of its fields without a call in Python, as every task needs some."""


class Source(NamedTuple):
    """What is the same for all records of one instrumented huey in one consumer."""

    queue: str
    host: str
    worker_type: str | None = None


class Sink(Protocol):
    """Takes records. Runs in the relay, never in a task, and must not block."""

    def __call__(self, record: Record, source: Source, /) -> None: ...
