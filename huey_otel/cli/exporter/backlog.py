"""The backlog: what a queue's keys in Redis hold, in each spelling of its name."""

import datetime
import time
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from huey_otel._safety.redaction import said
from huey_otel._storage.carriers import carrier_or_none
from huey_otel._storage.contents import Meaning, due_for, oldest, waited
from huey_otel._storage.layouts import LARGEST_READ
from huey_otel._storage.spellings import keys_of, storage_spelled
from huey_otel.cli.exporter.together import Answer, Together

if TYPE_CHECKING:
    from redis import Redis

_LENGTHS: Final = {b"none": "", b"list": "llen", b"zset": "zcard"}
"""How long a queue of each type is asked for."""

_SCHEDULES: Final = (b"none", b"zset")
_MEANING: Final = Meaning(carrier=carrier_or_none)


class UnreadableError(Exception):
    """A part of what was asked for cannot be told; the text says which and why."""


class Backlog(NamedTuple):
    """What a queue holds; `oldest` and `overdue` are ages in seconds.

    These are None where there is nothing of that age, or Redis does not tell;
    `results` where there are none, or each has a key of its own.
    """

    waiting: int = 0
    scheduled: int = 0
    due: int = 0
    results: int | None = None
    oldest: float | None = None
    overdue: float | None = None


class Clock(NamedTuple):
    """A moment, by the server's clock, in Unix seconds.

    `zone` is where the consumers are, None for where this process is.
    """

    now: float
    zone: zoneinfo.ZoneInfo | None = None

    @property
    def score(self) -> float:
        """What a huey that keeps UTC has on its schedule for what is due now.

        huey takes a naive UTC for local time when it makes a score.
        """
        naive = datetime.datetime.fromtimestamp(self.now, datetime.UTC)
        naive = naive.replace(tzinfo=None)
        if self.zone is not None:
            return naive.replace(tzinfo=self.zone).timestamp()
        return time.mktime(naive.timetuple()) + naive.microsecond / 1e6


def backlog(client: "Redis", names: Sequence[str], clock: Clock) -> Backlog:
    """The backlog of the queue that is spelled as *names*, added up.

    Raises UnreadableError, and redis' errors where Redis is away.
    """
    asked = [AskedBacklog(name) for name in names]
    together = Together(client)
    for one in asked:
        one.ask(together)
    together.send()
    together = Together(client)
    for one in asked:
        one.ask_more(together, clock)
    together.send()
    return added_up([one.told(client) for one in asked])


class AskedBacklog:
    """The backlog of the queue that is spelled *name*.

    Call `ask`, `ask_more` and `told` one after the other, with a trip to Redis after
    each of the first two.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue, self._schedule, self._results = keys_of(name)
        self._lengths: list[Answer] = []

    def ask(self, together: Together) -> None:
        """Ask for the types of its keys."""
        self._types = [together.ask("type", key) for key in keys_of(self._name)]

    def ask_more(self, together: Together, clock: Clock) -> None:
        """Ask for all that these types have."""
        self._clock = clock
        of_queue, of_schedule, of_results = (one() for one in self._types)
        if of_queue not in _LENGTHS or of_schedule not in _SCHEDULES:
            # `told` says so.
            return
        schedule = self._schedule
        if _LENGTHS[of_queue]:
            self._lengths.append(together.ask(_LENGTHS[of_queue], self._queue))
        self._lengths.append(together.ask("zcard", schedule))
        self._lengths.append(together.ask("zcount", schedule, "-inf", clock.score))
        if of_results == b"hash":
            self._lengths.append(together.ask("hlen", self._results))
        if of_queue == b"list":
            self._first = together.ask("lindex", self._queue, -1)
        if of_schedule == b"zset":
            self._due = together.ask("zrange", schedule, 0, 0, withscores=True)

    def told(self, client: "Redis") -> Backlog:
        """What was told; raises UnreadableError, and redis' errors."""
        types = [one() for one in self._types]
        _raise_refusal("TYPE", types)
        of_queue, of_schedule, _ = types
        if of_queue not in _LENGTHS:
            raise UnreadableError(
                f"{self._queue} is a {of_queue.decode()}, and no queue"
            )
        if of_schedule not in _SCHEDULES:
            raise UnreadableError(
                f"{self._schedule} is a {of_schedule.decode()}, and no schedule"
            )
        lengths = [one() for one in self._lengths]
        _raise_refusal(f"the length of {self._name}", lengths)
        waiting = int(lengths.pop(0)) if _LENGTHS[of_queue] else 0
        scheduled, due, *hashed = map(int, lengths)
        return Backlog(
            waiting,
            scheduled,
            due,
            hashed[0] if hashed else None,
            self._oldest(client, of_queue) if waiting else None,
            self._overdue() if due and of_schedule == b"zset" else None,
        )

    def _oldest(self, client: "Redis", of_queue: bytes) -> float | None:
        if of_queue == b"list":
            message = self._first()
            if not isinstance(message, bytes) or len(message) > LARGEST_READ:
                return None
            return waited(message, _MEANING, self._clock.now)
        storage = storage_spelled(self._name, client, sorted_set=True)
        return _unless_refused(lambda: oldest(storage, _MEANING, self._clock.now))

    def _overdue(self) -> float | None:
        found = self._due()
        if isinstance(found, Exception) or not found:
            return None
        return due_for(self._clock.score - float(found[0][1]))


def _unless_refused(ask: Any) -> float | None:
    """What *ask* returns; None where Redis refuses the command."""
    from redis.exceptions import ResponseError

    try:
        age: float | None = ask()
    except ResponseError:
        return None
    return age


def _raise_refusal(what: str, told: Sequence[Any]) -> None:
    for answer in told:
        if isinstance(answer, Exception):
            raise UnreadableError(f"{what} is refused: {said(answer)}") from answer


def added_up(parts: Sequence[Backlog]) -> Backlog:
    """All of *parts* together; of ages the longest."""
    results = [one.results for one in parts if one.results is not None]
    return Backlog(
        sum(one.waiting for one in parts),
        sum(one.scheduled for one in parts),
        sum(one.due for one in parts),
        sum(results) if results else None,
        max((one.oldest for one in parts if one.oldest is not None), default=None),
        max((one.overdue for one in parts if one.overdue is not None), default=None),
    )
