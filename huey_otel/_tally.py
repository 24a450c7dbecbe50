"""The tally: the numbers that records move, as the mapping says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._families import Histogram, Labels, Numbers, Trace
from huey_otel._periodic import ObservedRuns
from huey_otel._records import Record, Source, TaskFacts
from huey_otel._restarts import Restarts
from huey_otel._running import Running
from huey_otel.events import EVENT_LOST
from huey_otel.mapping import TABLE, Published, Span

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

# How long it took to be refused, canceled, interrupted or lost says nothing of a task.
_DURATION_OUTCOME: Final = {
    n.OUTCOME_SUCCESS: n.OUTCOME_SUCCESS,
    n.OUTCOME_ERROR: n.OUTCOME_ERROR,
    n.OUTCOME_TIMEOUT: n.OUTCOME_ERROR,
}
_FAILURES: Final = (n.OUTCOME_FAILURE, n.OUTCOME_TIMEOUT, n.OUTCOME_LOST)


class Step(NamedTuple):
    """A record, or many alike, as the tally takes it.

    `number` of records, `reported` of what they tell. `seconds` is what they
    come to together, `values` how often there was each.
    """

    record: Record
    source: Source
    task: Labels
    extra: Mapping[str, Any]
    number: int
    reported: int
    seconds: float
    values: Sequence[tuple[float, int]]


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
        self._moves = {status: self._moves_of(row) for status, row in TABLE.items()}

    def move(self, step: Step) -> None:
        """Count *step* in all metrics that the mapping names for its status."""
        for move in self._moves[step.record.status]:
            move(step)

    def _moves_of(self, row: mapping.Row) -> list[Callable[[Step], None]]:
        """What the mapping says of a status; what is read off the runs is not moved."""
        by_metric = {
            n.TASKS_ENQUEUED_TOTAL: self._enqueued,
            n.TASK_ATTEMPTS_TOTAL: self._attempts,
            n.TASK_ATTEMPTS_FINISHED_TOTAL: self._attempts_finished,
            n.TASKS_FINISHED_TOTAL: self._tasks_finished,
            n.TASK_RETRIES_TOTAL: self._retries,
            n.TASK_EXCEPTIONS_TOTAL: self._raised,
            n.TASK_DURATION_SECONDS: self._duration,
            n.TASK_WAIT_SECONDS: self._wait,
            n.TASK_SCHEDULE_DELAY_SECONDS: self._schedule_delay,
            n.TASK_LAST_STARTED: self._last_started,
            n.TASK_LAST_SUCCESS: self._last_success,
            n.TASK_LAST_FAILURE: self._last_failure,
            n.TASKS_IN_PROGRESS: self._run,
            n.PERIODIC_INTERVAL: self._scheduled_periodic,
            n.WORKER_RESTARTS_TOTAL: self._restarted,
            n.SCHEDULER_LAST_CHECK: self._checked,
            n.CONSUMER_ERRORS_TOTAL: self._consumer_error,
        }
        moves: list[Callable[[Step], None]] = [
            by_metric[metric] for metric in row.metrics if metric in by_metric
        ]
        if row.published is not Published.NEVER:
            moves.append(self._event)
        return moves

    def _enqueued(self, step: Step) -> None:
        origin = step.extra.get("origin") or n.ORIGIN_CALL
        self._count(n.TASKS_ENQUEUED_TOTAL, (*step.task, origin), step.number)

    def _attempts(self, step: Step) -> None:
        self._count(n.TASK_ATTEMPTS_TOTAL, step.task, step.number)

    def _attempts_finished(self, step: Step) -> None:
        outcome, number = step.extra.get("outcome"), step.number
        if step.record.status == EVENT_LOST:
            # Those that had been started have a duration, others were no attempt.
            outcome = TABLE[EVENT_LOST].outcome
            number = sum(times for _, times in step.values)
        if outcome is not None and number:
            labels = (*step.task, outcome)
            self._count(n.TASK_ATTEMPTS_FINISHED_TOTAL, labels, number)

    def _tasks_finished(self, step: Step) -> None:
        final = _final(step)
        if final is not None:
            self._count(n.TASKS_FINISHED_TOTAL, (*step.task, final), step.number)

    def _retries(self, step: Step) -> None:
        self._count(n.TASK_RETRIES_TOTAL, step.task, step.number)

    def _raised(self, step: Step) -> None:
        name = step.extra.get("exception") or n.OTHER_EXCEPTION
        if name not in self._exceptions:
            if len(self._exceptions) < _MOST_EXCEPTIONS:
                self._exceptions.add(name)
            else:
                name = n.OTHER_EXCEPTION
        self._count(n.TASK_EXCEPTIONS_TOTAL, (*step.task, name), step.number)

    def _duration(self, step: Step) -> None:
        outcome = _DURATION_OUTCOME.get(step.extra.get("outcome") or "")
        if outcome is not None:
            self._observe(n.TASK_DURATION_SECONDS, (*step.task, outcome), step)

    def _wait(self, step: Step) -> None:
        self._observe(n.TASK_WAIT_SECONDS, step.task, step)

    def _schedule_delay(self, step: Step) -> None:
        self._observe(n.TASK_SCHEDULE_DELAY_SECONDS, step.task[:1], step)

    def _last_started(self, step: Step) -> None:
        self._was(n.TASK_LAST_STARTED, step.task, step)

    def _last_success(self, step: Step) -> None:
        if _final(step) == n.OUTCOME_SUCCESS:
            self._was(n.TASK_LAST_SUCCESS, step.task, step)

    def _last_failure(self, step: Step) -> None:
        if _final(step) in _FAILURES:
            self._was(n.TASK_LAST_FAILURE, step.task, step)

    def _run(self, step: Step) -> None:
        if not step.record.key:
            return
        if TABLE[step.record.status].span is Span.START:
            self.running.start(step.record, step.source, step.task[1])
        else:
            self.running.end(step.record)

    def _scheduled_periodic(self, step: Step) -> None:
        self.periodic.scheduled(step.task, step.record.timestamp)

    def _restarted(self, step: Step) -> None:
        reason = self._restarts.apply(step.record, step.source)
        if reason is not None:
            self._count(n.WORKER_RESTARTS_TOTAL, (step.source.queue, reason), 1)

    def _checked(self, step: Step) -> None:
        self._was(n.SCHEDULER_LAST_CHECK, step.task[:1], step)

    def _consumer_error(self, step: Step) -> None:
        labels = (step.source.queue, mapping.kind_of_error(step.record.status))
        self._count(n.CONSUMER_ERRORS_TOTAL, labels, step.reported)

    def _event(self, step: Step) -> None:
        labels = (step.source.queue, step.record.status)
        self._count(n.EVENTS_TOTAL, labels, step.number)

    def _count(self, name: str, labels: Labels, number: int) -> None:
        self.numbers[name].add(labels, number)

    def _was(self, name: str, labels: Labels, step: Step) -> None:
        self.numbers[name].raise_to(labels, step.record.timestamp)

    def _observe(self, name: str, labels: Labels, step: Step) -> None:
        if not step.values:
            return
        exemplar = None
        facts = TaskFacts(*step.record.facts) if step.record.facts else None
        if facts is not None and facts.trace_id and facts.span_id:
            exemplar = Trace(
                facts.trace_id, facts.span_id, step.seconds, step.record.timestamp
            )
        self.histograms[name].observe(labels, step.seconds, step.values, exemplar)


def _final(step: Step) -> str | None:
    """What became of the task; a status that ends it without `ended` says so itself."""
    if step.record.status == EVENT_LOST:
        return TABLE[EVENT_LOST].final
    final: str | None = step.extra.get("final")
    return final
