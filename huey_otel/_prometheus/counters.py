"""The tally: the numbers that records move, as the mapping says."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.in_progress import Running
from huey_otel._prometheus.kinds import LABELS, Kind
from huey_otel._prometheus.periodic import ObservedRuns
from huey_otel._prometheus.restarts import Restarts
from huey_otel._prometheus.series import Histogram, Labels, Numbers, Trace
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.events import EVENT_LOST
from huey_otel.mapping import TABLE, Span

COUNTERS: Final = (
    *(n.TASKS_ENQUEUED_TOTAL, n.TASK_ATTEMPTS_TOTAL, n.TASK_ATTEMPTS_FINISHED_TOTAL),
    *(n.TASKS_FINISHED_TOTAL, n.TASK_RETRIES_TOTAL, n.TASK_EXCEPTIONS_TOTAL),
    *(n.WORKER_RESTARTS_TOTAL, n.CONSUMER_ERRORS_TOTAL, n.EVENTS_TOTAL),
)
MOMENTS: Final = (
    *(n.TASK_LAST_STARTED, n.TASK_LAST_SUCCESS, n.TASK_LAST_FAILURE),
    n.SCHEDULER_LAST_CHECK,
)
HISTOGRAMS: Final = (
    *(n.TASK_DURATION_SECONDS, n.TASK_WAIT_SECONDS, n.TASK_SCHEDULE_DELAY_SECONDS),
)
_MOST_EXCEPTIONS: Final = 50
_MOST_KINDS: Final = 10_000

_TIMES: Final = itemgetter(1)
_TRACE_ID: Final = TaskFacts._fields.index("trace_id")
_SPAN_ID: Final = TaskFacts._fields.index("span_id")


class Moves(NamedTuple):
    """What records of one kind move, worked out once for all of them.

    `counted` takes how many records there are, `told` what they report, `timed`
    how many have seconds. `followed` gets the record itself.
    """

    counted: list[tuple[dict[Labels, float], Labels]]
    told: list[tuple[dict[Labels, float], Labels]]
    timed: list[tuple[dict[Labels, float], Labels]]
    latest: list[tuple[dict[Labels, float], Labels]]
    observed: list[tuple[Histogram, Labels]]
    followed: list[Callable[[Record, Source, Labels], object]]


class Tally:
    """All numbers that records move. Not thread-safe."""

    def __init__(self, duration_bounds: Sequence[float], wait_bounds: Sequence[float]):
        bounds = {n.TASK_DURATION_SECONDS: duration_bounds}
        self.numbers = {name: Numbers(name) for name in (*COUNTERS, *MOMENTS)}
        self.histograms = {
            name: Histogram(name, bounds.get(name, wait_bounds)) for name in HISTOGRAMS
        }
        self.running = Running()
        self.periodic = ObservedRuns()
        self._restarts = Restarts()
        self._exceptions: set[str] = set()
        self._moves: dict[Kind, Moves] = {}

    def move(
        self,
        kind: Kind,
        record: Record,
        source: Source,
        number: int,
        reported: int,
        seconds: float,
        values: Sequence[tuple[float, int]],
    ) -> None:
        """Count *number* records of *kind* in all metrics that the mapping names.

        *record* is the one, or stands for all. They report *reported*, and come to
        *seconds* together; *values* says how often there was each.
        """
        moves = self._moves.get(kind) or self._moves_of(kind)
        for numbers, labels in moves.counted:
            numbers[labels] = numbers.get(labels, 0) + number
        for numbers, labels in moves.told:
            numbers[labels] = numbers.get(labels, 0) + reported
        for numbers, labels in moves.latest:
            if record.timestamp > numbers.get(labels, 0.0):
                numbers[labels] = record.timestamp
        if values:
            for numbers, labels in moves.timed:
                numbers[labels] = numbers.get(labels, 0) + sum(map(_TIMES, values))
            for histogram, labels in moves.observed:
                histogram.observe(labels, seconds, values, _trace_of(record, seconds))
        for follow in moves.followed:
            follow(record, source, kind.task)

    def _moves_of(self, kind: Kind) -> Moves:
        if len(self._moves) >= _MOST_KINDS:
            self._moves.clear()
        moves = self._moves[kind] = Moves([], [], [], [], [], [])
        for metric in kind.metrics:
            if metric == n.TASKS_IN_PROGRESS:
                started = TABLE[kind.status].span is Span.START
                running = self.running
                moves.followed.append(running.start if started else running.end)
            elif metric == n.PERIODIC_INTERVAL:
                moves.followed.append(self.periodic.scheduled)
            elif metric == n.WORKER_RESTARTS_TOTAL:
                moves.followed.append(self._restarted)
            labels = LABELS[metric](kind) if metric in LABELS else None
            if labels is None:
                continue
            if metric == n.TASK_EXCEPTIONS_TOTAL:
                labels = self._bounded(labels)
            if metric in self.histograms:
                moves.observed.append((self.histograms[metric], labels))
            else:
                self._way(metric, kind, moves).append(
                    (self.numbers[metric].values, labels)
                )
        return moves

    @staticmethod
    def _way(
        metric: str, kind: Kind, moves: Moves
    ) -> list[tuple[dict[Labels, float], Labels]]:
        if metric in MOMENTS:
            return moves.latest
        if metric == n.CONSUMER_ERRORS_TOTAL:
            return moves.told
        if metric == n.TASK_ATTEMPTS_FINISHED_TOTAL and kind.status == EVENT_LOST:
            # Those that had been started have a duration, others were no attempt.
            return moves.timed
        return moves.counted

    def _bounded(self, labels: Labels) -> Labels:
        *task, name = labels
        if name not in self._exceptions:
            if len(self._exceptions) >= _MOST_EXCEPTIONS:
                return (*task, n.OTHER_EXCEPTION)
            self._exceptions.add(name)
        return labels

    def _restarted(self, record: Record, source: Source, _: Labels) -> None:
        reason = self._restarts.apply(record, source)
        if reason is not None:
            self.numbers[n.WORKER_RESTARTS_TOTAL].add((source.queue, reason))


def _trace_of(record: Record, seconds: float) -> Trace | None:
    """The exemplar that *record* gives, if its span is sampled."""
    facts = record.facts
    if facts is None or not facts[_TRACE_ID] or not facts[_SPAN_ID]:
        return None
    return Trace(facts[_TRACE_ID], facts[_SPAN_ID], seconds, record.timestamp)
