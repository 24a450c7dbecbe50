"""Losses: how much telemetry this process could not deliver, and why."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping

from huey_otel import _names as n

logger = logging.getLogger(n.LOGGER)


class Losses:
    """Counts losses by reason, and logs the first one of each streak.

    A streak lasts until `recovered` is called for its reason.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, as a forked child does: its parent reports its own."""
        # Reentrant: a signal handler may lose something in the middle of a count.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._streaks: set[str] = set()
        self.pending = False

    def count(
        self,
        reason: str,
        number: int = 1,
        *,
        why: str,
        streak: str | None = None,
        error: bool = False,
    ) -> None:
        """Add *number* losses; *error* logs the exception being handled as well.

        With 0 nothing is lost yet, and the streak begins all the same.
        *streak* tells apart the streaks of one reason; the reason by default.
        """
        streak = streak or reason
        with self._lock:
            if number:
                self._counts[reason] += number
                self.pending = True
            first = streak not in self._streaks
            self._streaks.add(streak)
        if first:
            logger.warning("%s (counted as %s)", why, reason, exc_info=error)

    def count_streak(self, reason: str, *, streak: str, why: str) -> None:
        """Count one loss, and log it, unless *streak* is going on already."""
        with self._lock:
            if streak not in self._streaks:
                self.count(reason, why=why, streak=streak)

    def add(self, reason: str, number: int) -> None:
        """Add what a forked child has counted and logged itself."""
        with self._lock:
            self._counts[reason] += number

    def recovered(self, reason: str, *, message: str | None = None) -> None:
        """End the streak of *reason*, and say so if there was one."""
        if reason not in self._streaks:
            return
        with self._lock:
            self._streaks.discard(reason)
        if message:
            logger.warning("%s", message)

    def counts(self) -> Mapping[str, int]:
        """All losses so far, by reason."""
        with self._lock:
            return dict(self._counts)

    def take(self) -> dict[str, int]:
        """The losses since the last `take`, for a child to hand to its parent."""
        with self._lock:
            taken = dict(self._counts)
            self._counts.clear()
            self.pending = False
        return taken


LOSSES = Losses()
