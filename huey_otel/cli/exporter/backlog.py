"""The backlog: what a queue's keys in Redis hold, in each spelling of its name."""

import datetime
import time
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from huey_otel._safety.redaction import said
from huey_otel._storage.carriers import carrier_or_none
from huey_otel._storage.contents import Meaning, due_for, oldest
from huey_otel._storage.spellings import keys_of, storage_spelled

if TYPE_CHECKING:
    from redis import Redis

_LENGTHS: Final = {b"none": "", b"list": "LLEN", b"zset": "ZCARD"}
"""How long a queue of each type is asked for."""

_SCHEDULES: Final = (b"none", b"zset")


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
    types = _types(client, names)
    return _sum([_of(client, name, types[name], clock) for name in names])


def _types(client: "Redis", names: Sequence[str]) -> dict[str, list[bytes]]:
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            for key in keys_of(name):
                pipeline.type(key)
        told: list[Any] = pipeline.execute(raise_on_error=False)
    _raise_refusal("TYPE", told)
    each = len(keys_of(""))
    return {
        name: told[number * each : (number + 1) * each]
        for number, name in enumerate(names)
    }


def _of(client: "Redis", name: str, types: Sequence[bytes], clock: Clock) -> Backlog:
    queue, schedule, results = keys_of(name)
    of_queue, of_schedule, of_results = types
    if of_queue not in _LENGTHS:
        raise UnreadableError(f"{queue} is a {of_queue.decode()}, and no queue")
    if of_schedule not in _SCHEDULES:
        raise UnreadableError(
            f"{schedule} is a {of_schedule.decode()}, and no schedule"
        )
    with client.pipeline(transaction=False) as pipeline:
        if _LENGTHS[of_queue]:
            pipeline.execute_command(_LENGTHS[of_queue], queue)
        pipeline.zcard(schedule)
        pipeline.zcount(schedule, "-inf", clock.score)
        if of_results == b"hash":
            pipeline.hlen(results)
        told: list[Any] = pipeline.execute(raise_on_error=False)
    _raise_refusal(f"the length of {name}", told)
    waiting = int(told.pop(0)) if _LENGTHS[of_queue] else 0
    scheduled, due, *hashed = map(int, told)
    storage = storage_spelled(name, client, sorted_set=of_queue == b"zset")
    meaning = Meaning(carrier=carrier_or_none)
    return Backlog(
        waiting,
        scheduled,
        due,
        hashed[0] if hashed else None,
        _unless_refused(lambda: oldest(storage, meaning, clock.now))
        if waiting
        else None,
        _unless_refused(lambda: _overdue(client, schedule, clock)) if due else None,
    )


def _overdue(client: Any, schedule: str, clock: Clock) -> float | None:
    found = client.zrange(schedule, 0, 0, withscores=True)
    return due_for(clock.score - float(found[0][1])) if found else None


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


def _sum(parts: Sequence[Backlog]) -> Backlog:
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
