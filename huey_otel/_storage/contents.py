"""Contents: what a storage holds and for how long, as far as it can say so cheaply."""

import datetime
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from huey_otel import _names as n
from huey_otel._safety.log import described
from huey_otel._safety.losses import LOSSES
from huey_otel._storage import layouts
from huey_otel._wire.carrier import Carrier, decode

T = TypeVar("T")

_FIFTY_YEARS: Final = 50 * 365 * 86_400.0


class Contents(NamedTuple):
    """How many messages and results there are; None for what the storage cannot say.

    `oldest` is for how many seconds the oldest message of the queue has waited, None
    if there is none; `overdue` for how many the first of the schedule has been due.
    """

    queue: int | None
    schedule: int | None
    results: int | None = None
    oldest: float | None = None
    overdue: float | None = None


def _utcnow() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Meaning(NamedTuple):
    """How the huey of a storage reads what it keeps there.

    *carrier* reads the carrier of a message, None where it has none; *now* is the
    naive time in which the schedule is written.
    """

    carrier: Callable[[bytes], Carrier | None] = decode
    now: Callable[[], datetime.datetime] = _utcnow


def contents(queue: str, storage: Any, meaning: Meaning) -> Contents:
    """Ask *storage*, of the queue named *queue*; raises what its lengths raise.

    Where a Redis refuses a command, only what that would tell is unknown.
    """

    def asked(what: str, ask: Callable[[], T], *, vital: bool = False) -> T | None:
        streak = f"{n.LOSS_GAUGES} of {queue}: {what}"
        try:
            answer = ask()
        except Exception as error:  # whatever a storage may raise
            if vital and not _is_refusal(error):
                raise
            why = f"the storage of {queue!r} does not tell its {what}:"
            why = f"{why} {described(error)}"
            LOSSES.count_streak(n.LOSS_GAUGES, streak=streak, why=why, queue=queue)
            return None
        LOSSES.recovered(streak)
        return answer

    def results() -> int | None:
        if not layouts.counts_results(storage):
            return None
        return int(storage.result_store_size())

    return Contents(
        asked("queue length", lambda: int(storage.queue_size()), vital=True),
        asked("schedule length", lambda: int(storage.schedule_size()), vital=True),
        asked("results", results),
        asked("oldest message", lambda: oldest(storage, meaning)),
        asked("schedule", lambda: overdue(storage, meaning)),
    )


def _is_refusal(error: Exception) -> bool:
    # No exception can be of a module that is not imported.
    kind = getattr(sys.modules.get("redis.exceptions"), "ResponseError", None)
    return isinstance(kind, type) and isinstance(error, kind)


def oldest(
    storage: Any, meaning: Meaning, unix_now: float | None = None
) -> float | None:
    """For how many seconds the oldest message of the queue has waited.

    By *unix_now*, or by the clock of this machine.
    """
    ask = layouts.oldest_of(storage)
    now = time.time() if unix_now is None else unix_now
    since = functools.partial(_since, meaning=meaning, now=now)
    enqueued = None if ask is None else ask(storage, since)
    return None if enqueued is None else max(0.0, now - enqueued)


def waited(message: bytes, meaning: Meaning, now: float) -> float | None:
    """For how many seconds *message* has waited; None if it does not say."""
    since = _since(message, meaning=meaning, now=now)
    return None if since is None else max(0.0, now - since)


def _since(message: bytes, *, meaning: Meaning, now: float) -> float | None:
    carrier = meaning.carrier(message)
    if carrier is None:
        return None
    # A task with an ETA is on the queue until a worker moves it to the schedule.
    due = carrier.eta is not None and carrier.enqueued < carrier.eta <= now
    return carrier.eta if due else carrier.enqueued


def overdue(storage: Any, meaning: Meaning) -> float | None:
    """For how many seconds the first message of the schedule has been due."""
    ask = layouts.due_of(storage)
    return due_for(None if ask is None else ask(storage, meaning.now()))


def due_for(seconds: float | None) -> float | None:
    """*seconds* since the first message of a schedule was due; None if it is not."""
    # huey writes 1970 for a task that is scheduled without an ETA.
    return seconds if seconds is not None and 0 < seconds < _FIFTY_YEARS else None
