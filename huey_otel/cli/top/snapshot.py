"""The snapshot: what is known of a queue at one moment, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits: numbers of messages, and seconds. None is what Redis does not tell.

    *oldest* is for how long the oldest message has waited, *overdue* for how long the
    first task of the schedule has been due, and *grows* whether *oldest* has grown as
    time went by.
    """

    waiting: int | None = None
    scheduled: int | None = None
    results: int | None = None
    oldest: float | None = None
    overdue: float | None = None
    grows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The consumers that leave pages: how many, and their workers.

    *silent* are those whose page is older than three of its intervals, with its age in
    seconds, *stuck* those that say so of themselves, with the reason.
    """

    consumers: int
    workers: int
    busy: int
    silent: Sequence[tuple[str, float]] = ()
    stuck: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The oldest attempt of a task that runs on one consumer; *age* is in seconds."""

    task: str
    consumer: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A task that failed in the last minutes: how often, how, and seconds *ago*."""

    task: str
    count: int
    exception: str
    ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure; *at* is Unix seconds by the server's clock, texts may be empty."""

    at: float
    task: str
    id: str
    exception: str
    message: str
    worker: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What became of a task: tasks done a minute, the share that failed, and seconds.

    *failed* and *p95* are None where none was done.
    """

    task: str
    done: float
    failed: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """A periodic task: when it last succeeded and is due next, in Unix seconds.

    *late* is whether it should have succeeded since.
    """

    task: str
    succeeded: float | None
    due: float | None
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What cannot be told though it is there, and why: a text for each part."""

    backlog: str = ""
    pages: str = ""
    events: str = ""

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [why for why in (self.backlog, self.pages, self.events) if why]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A queue at one moment, *at*, in Unix seconds by the server's clock.

    *backlog* is None until Redis has answered. *fleet* is None while no consumer
    leaves pages, *failing* while there is no stream of events. *window* is over how
    many seconds the rates are, None for since each consumer's start. *missed* and
    *trimmed* are events of the stream that were not seen, None if that is not known.
    *away* says why Redis cannot be asked now, *unknown* what it does not tell.
    """

    queue: str
    server: str
    at: float
    backlog: Backlog | None = None
    fleet: Fleet | None = None
    running: Sequence[Running] = ()
    rates: Sequence[Rate] = ()
    window: float | None = None
    periodic: Sequence[Periodic] = ()
    failing: Sequence[Failing] | None = None
    failures: Sequence[Failure] = ()
    missed: int = 0
    trimmed: int | None = 0
    away: str | None = None
    unknown: Unknown = Unknown()

    @property
    def has_nothing(self) -> bool:
        """Whether there is not a key of this queue."""
        held = self.backlog
        return (
            held is not None
            and (held.waiting, held.scheduled) == (0, 0)
            and not (held.results or self.fleet or self.unknown.texts)
            and self.failing is None
        )
