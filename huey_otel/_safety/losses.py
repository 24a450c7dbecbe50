"""Losses: how much telemetry this process could not deliver, and why."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from huey_otel import _names as n
from huey_otel._safety.log import warn


class Loss(NamedTuple):
    """What a reason stands for; *of_queue* unless such a loss is the process'."""

    signal: str
    what: str
    of_queue: bool = False


_event = partial(Loss, n.SIGNAL_EVENT)
_span = partial(Loss, n.SIGNAL_SPAN)
_metric = partial(Loss, n.SIGNAL_METRIC)

REASONS: Final = {
    n.LOSS_RELAY: _event(
        "events that the consumer's main process was too busy to handle; the counts"
        " stay exact"
    ),
    n.LOSS_FEED_FULL: _event(
        "the oldest events, because Redis was away until more than 8 MiB of them"
        " waited",
        of_queue=True,
    ),
    n.LOSS_FEED_UNCONFIRMED: _event(
        "events that were sent when a connection broke, and never answered; some may"
        " have arrived",
        of_queue=True,
    ),
    n.LOSS_FEED_REFUSED: _event(
        "events that Redis refused: no permission to publish", of_queue=True
    ),
    n.LOSS_FEED_REPLICA: _event(
        "events that were published on a server after it had become a replica, and"
        " reached no subscriber",
        of_queue=True,
    ),
    n.LOSS_FEED_SHUTDOWN: _event(
        "events that were not published yet when `flush_timeout` was over",
        of_queue=True,
    ),
    n.LOSS_STREAM_REFUSED: _event(
        "events that Redis refused to add to [the stream](events.md#the-stream): no"
        " permission, no memory, or its key holds something else; they were published"
        " all the same",
        of_queue=True,
    ),
    n.LOSS_LOGS: _event(
        "events that could not be exported as"
        " [log records](events.md#as-opentelemetry-log-records): the collector is"
        " away, does not answer or refuses them",
        of_queue=True,
    ),
    n.LOSS_LOGS_FULL: _event(
        "the oldest events, because they came faster than they could be exported as"
        " log records, until more than 8 MiB of them waited",
        of_queue=True,
    ),
    n.LOSS_LOGS_REJECTED: _event(
        "log records of events that the collector received, and refused in its answer",
        of_queue=True,
    ),
    n.LOSS_LOGS_SHUTDOWN: _event(
        "events that were not exported as log records yet when `flush_timeout` was"
        " over",
        of_queue=True,
    ),
    n.LOSS_INTERRUPTED: _event(
        "the end of an attempt: a signal handler of your own, or an interrupt, came"
        " while it was recorded; the attempt counts as `error`",
        of_queue=True,
    ),
    n.LOSS_INTERNAL: _event("telemetry that an error in our own code lost"),
    n.LOSS_CARRIER: _span(
        "the trace context of a task: the message's trailer could not be read, or a"
        " propagator could not write its headers; the task ran"
    ),
    n.LOSS_SPANS: _span(
        "spans that could not be exported, or of which a killed worker had not heard"
        " yet that they arrived"
    ),
    n.LOSS_SPANS_UNENCODABLE: _span(
        "single spans that OTLP cannot encode; the rest of the batch is delivered"
    ),
    n.LOSS_SPANS_QUEUE_FULL: _span(
        "spans that ended while the queue of spans to export was full"
    ),
    n.LOSS_SPANS_REJECTED: _span(
        "spans that the collector received, and refused in its answer"
    ),
    n.LOSS_GAUGES: _metric(
        "answers of a storage that hung or failed, once per streak", of_queue=True
    ),
    n.LOSS_PAGE_REFUSED: _metric(
        "metrics pages that Redis refused: no permission, no memory, or another"
        " program's key; the next page has all that this one would have had",
        of_queue=True,
    ),
    n.LOSS_PAGE_SHUTDOWN: _metric(
        "last metrics pages that were not written yet when `flush_timeout` was over;"
        " the exporter shows the page before",
        of_queue=True,
    ),
}
"""What each reason has lost, and of which signal."""


class Losses:
    """Counts losses by queue and reason, and logs the first one of each streak.

    A streak lasts until `recovered` is called for its reason.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none, as a forked child: its parent reports its own losses."""
        # Reentrant: a signal handler may count a loss while another one is counted.
        self._lock = threading.RLock()
        # By queue, which is empty for losses of the process, and reason.
        self._counts: Counter[tuple[str, str]] = Counter()
        self._streaks: set[str] = set()
        self._lossless: set[str] = set()
        self._hear: Callable[[], object] = _not_heard
        self.pending = False

    def count(
        self,
        reason: str,
        number: int = 1,
        *,
        why: str,
        queue: str = "",
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
                self._add(queue, reason, number)
                news = news or streak in self._lossless
                self._lossless.discard(streak)
            elif news:
                self._lossless.add(streak)
        if news and number:
            self._say("%s (counted as %s)", why, reason, error=error)
        elif news:
            self._say("%s (nothing is lost so far)", why, error=error)
        self._hear()

    def count_streak(
        self, reason: str, *, streak: str, why: str, queue: str = ""
    ) -> None:
        """Count one loss, and log it, unless *streak* is going on already."""
        with self._lock:
            first = streak not in self._streaks
            if first:
                self._add(queue, reason, 1)
                self._streaks.add(streak)
        if first:
            self._say("%s (counted as %s)", why, reason)
            self._hear()

    def heard_by(self, hear: Callable[[], object]) -> None:
        """Call *hear* after each loss of this process, until it forks."""
        self._hear = hear

    def add(self, queue: str, reason: str, number: int) -> None:
        """Add what a forked child has counted and logged itself."""
        with self._lock:
            self._counts[queue, reason] += number

    def recovered(self, reason: str, *, message: str | None = None) -> None:
        """End the streak of *reason*; *message* is logged if there was one."""
        if reason not in self._streaks:
            return
        with self._lock:
            self._streaks.discard(reason)
            self._lossless.discard(reason)
        if message:
            self._say("%s", message)

    def counts(self, queue: str | None = None) -> Mapping[str, int]:
        """All losses so far, by reason; with *queue* its own and the process'."""
        counts: Counter[str] = Counter()
        for (whose, reason), number in self.by_queue().items():
            if queue is None or whose in ("", queue):
                counts[reason] += number
        return dict(counts)

    def by_queue(self) -> Mapping[tuple[str, str], int]:
        """All losses so far, by queue and reason."""
        with self._lock:
            return dict(self._counts)

    def take(self) -> Mapping[tuple[str, str], int]:
        """The losses since the last `take`, for a child to hand to its parent."""
        with self._lock:
            taken = dict(self._counts)
            self._counts.clear()
            self.pending = False
        return taken

    def _add(self, queue: str, reason: str, number: int) -> None:
        self._counts[queue, reason] += number
        self.pending = True

    def _say(self, message: str, *values: object, error: bool = False) -> None:
        # With no lock held, and once: a handler may lose telemetry itself.
        if not warn(message, *values, error=error):
            with self._lock:
                self._add("", n.LOSS_INTERNAL, 1)


def _not_heard() -> None:
    """Do nothing after a loss: in the main process the page shows the count."""


LOSSES = Losses()
