"""Stuck: what of a consumer hangs, although all of its workers live."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.consumers import Limits
from huey_otel._storage.contents import Contents
from huey_otel._tasks.signs import EMPTY, GOT, LOOKED, NOBODYS, Heart, Signs
from huey_otel._tasks.workers import worker_name

if TYPE_CHECKING:
    from huey.consumer import Consumer

_APART: Final = 1.0
"""Seconds between two looks; what is answered is not older than that."""

_TOO_FAR_APART: Final = 2.0
"""Seconds after which the look before says nothing: the process may have stopped."""

_SLEEP: Final = 60.0
"""Seconds that a worker may take to look again, beyond the limit."""

_TEXTS: Final = {
    n.STUCK_DEQUEUE: "hangs in dequeue, while messages wait",
    n.STUCK_WORKER: "does not look for messages any more",
    n.STUCK_SCHEDULER: "does not look at the schedule any more",
    n.STUCK_BUSY: "is in one task, as all workers are",
}

Seen = Mapping[str, tuple[float, ...]]
"""The signs of life of workers and the scheduler that live, by name."""

Silent = dict[str, dict[str, float]]
"""The seconds of silence of workers and the scheduler, by reason and name."""


class _Look(NamedTuple):
    """What was `seen`, at a monotonic time, and what the storage `held` before.

    `earlier` is the look before this one, if that is not long ago.
    """

    at: float
    seen: Seen
    held: Contents | None
    earlier: "_Look | None"

    def allows(self, reason: str) -> bool:
        """Whether silence can be for *reason*, as far as the storage knows."""
        if reason == n.STUCK_DEQUEUE:
            return self.held is not None and bool(self.held.queue)
        return self.held is not None or reason != n.STUCK_SCHEDULER


class Stuck:
    """Says what of *consumer* is stuck, by reason.

    *scheduler* are the scheduler's signs of life; *held* asks the storage, and returns
    None if that does not answer.

    A worker that is silent for too long is stuck only if it is still silent a second
    later, and the storage has answered twice: after a stop of the process, or of its
    storage, workers go on a moment later than we do.
    """

    def __init__(
        self,
        consumer: "Consumer",
        scheduler: Signs,
        heart: Heart,
        held: Callable[[], Contents | None],
    ) -> None:
        self._consumer = consumer
        self._scheduler = scheduler
        self._heart = heart
        self._held = held
        self._looking = threading.Lock()
        self._last: _Look | None = None

    def __call__(self, limits: Limits) -> dict[str, str]:
        """What is stuck by *limits*: reasons, each with a text for people.

        The storage is asked only if a worker or the scheduler is silent for too long.
        """
        silent = self._silent(self._seen(), time.monotonic(), limits)
        if not silent:
            return {}
        look = self._look()
        if look.earlier is None and any(map(look.allows, silent)):
            # A little longer, or it would be the same look.
            time.sleep(max(0.0, look.at + _APART - time.monotonic()) + 0.01)
            look = self._look()
        if look.earlier is None:
            # The storage is away, or the process was stopped in between.
            return {}
        silent = self._silent(look.seen, look.at, limits)
        return {
            reason: f"{_TEXTS[reason]}: {_listed(silent[reason])}"
            for reason in silent
            if look.allows(reason) and look.earlier.allows(reason)
        }

    def _look(self) -> _Look:
        """A look that is at most a second old."""
        with self._looking:
            last, now = self._last, time.monotonic()
            if last is not None and now - last.at < _APART:
                return last
            near = last is not None and now - last.at < _TOO_FAR_APART
            earlier = last._replace(earlier=None) if last and near else None
            held = self._held()
            self._last = _Look(time.monotonic(), self._seen(), held, earlier)
            return self._last

    def _seen(self) -> Seen:
        consumer = self._consumer
        alive = consumer.environment.is_alive
        seen = {}
        if alive(consumer.scheduler):
            seen[n.SCHEDULER] = tuple(self._scheduler)
        for number, (worker, process) in enumerate(consumer.worker_threads, 1):
            if alive(process):
                signs = getattr(worker, "_huey_otel_signs", NOBODYS)
                seen[worker_name(number)] = tuple(signs)
        return seen

    def _silent(self, seen: Seen, now: float, limits: Limits) -> Silent:
        """The workers and the scheduler that gave no sign for longer than their limit.

        One that has not begun yet may take any time.
        """
        consumer = self._consumer
        patience = {
            n.STUCK_DEQUEUE: limits.after,
            n.STUCK_WORKER: limits.after + max(_SLEEP, 2 * consumer.max_delay),
            n.STUCK_SCHEDULER: limits.after + 2 * consumer.scheduler_interval,
            n.STUCK_BUSY: math.inf if limits.busy is None else limits.busy,
        }
        found: Silent = {}
        for who, signs in seen.items():
            reason, since = _doing(who, signs)
            seconds = self._heart.awake(since, now)
            if since and seconds > patience[reason]:
                found.setdefault(reason, {})[who] = seconds
        workers = len(seen.keys() - {n.SCHEDULER})
        if len(found.get(n.STUCK_BUSY, ())) < workers:
            found.pop(n.STUCK_BUSY, None)
        return found


def _doing(who: str, signs: tuple[float, ...]) -> tuple[str, float]:
    """The reason for which *who* would be stuck now, and since when it does that."""
    if who == n.SCHEDULER:
        return n.STUCK_SCHEDULER, signs[LOOKED]
    last = max(signs)
    if signs[GOT] == last:
        return n.STUCK_BUSY, last
    return (n.STUCK_WORKER if signs[EMPTY] == last else n.STUCK_DEQUEUE), last


def _listed(silent: Mapping[str, float]) -> str:
    return ", ".join(f"{who} for {seconds:.0f} s" for who, seconds in silent.items())
