"""Losses: how much telemetry this process could not deliver, and why."""

import threading
from collections import Counter
from collections.abc import Mapping

from huey_otel import _names as n
from huey_otel._safety.log import warn


class Losses:
    """Counts losses by reason, and logs the first one of each streak.

    A streak lasts until `recovered` is called for its reason.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none, as a forked child: its parent reports its own losses."""
        # Reentrant: a signal handler may count a loss while another one is counted.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._streaks: set[str] = set()
        self._lossless: set[str] = set()
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

        With 0 the streak begins, and is logged, before the first loss. *streak* tells
        apart the streaks of one reason; the reason by default.
        """
        streak = streak or reason
        with self._lock:
            news = streak not in self._streaks
            self._streaks.add(streak)
            if number:
                self._add(reason, number)
                news = news or streak in self._lossless
                self._lossless.discard(streak)
            elif news:
                self._lossless.add(streak)
        if news and number:
            self._say("%s (counted as %s)", why, reason, error=error)
        elif news:
            self._say("%s (nothing is lost so far)", why, error=error)

    def count_streak(self, reason: str, *, streak: str, why: str) -> None:
        """Count one loss, and log it, unless *streak* is going on already."""
        with self._lock:
            first = streak not in self._streaks
            if first:
                self._add(reason, 1)
                self._streaks.add(streak)
        if first:
            self._say("%s (counted as %s)", why, reason)

    def add(self, reason: str, number: int) -> None:
        """Add what a forked child has counted and logged itself."""
        with self._lock:
            self._counts[reason] += number

    def recovered(self, reason: str, *, message: str | None = None) -> None:
        """End the streak of *reason*; *message* is logged if there was one."""
        if reason not in self._streaks:
            return
        with self._lock:
            self._streaks.discard(reason)
            self._lossless.discard(reason)
        if message:
            self._say("%s", message)

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

    def _add(self, reason: str, number: int) -> None:
        self._counts[reason] += number
        self.pending = True

    def _say(self, message: str, *values: object, error: bool = False) -> None:
        # With no lock held, and once: a handler may lose telemetry itself.
        if not warn(message, *values, error=error):
            with self._lock:
                self._add(n.LOSS_INTERNAL, 1)


LOSSES = Losses()
