"""The consumer's metrics page: read it, and compare its counts with the ledgers."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from huey_otel import events as e
from runtime.load.ledger import Expected

STARTED = "started"
FINISHED = "finished"
FAILED = "failed"
RETRIED = "retried"
COUNTED = (STARTED, FINISHED, FAILED, RETRIED)

COUNTED_STATUSES = {
    e.EVENT_STARTED: STARTED,
    e.EVENT_FINISHED: FINISHED,
    e.EVENT_ERROR_TASK: FAILED,
    e.EVENT_TIMEOUT: FAILED,
    e.EVENT_RETRYING: RETRIED,
}
"""What an event of a status is counted as."""

_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetrics:
    """One task's metrics: `counts` by the names in `COUNTED`, p95s in seconds.

    A p95 is None while nothing was observed.
    """

    counts: Counter[str]
    wait: float | None
    duration: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One scrape: `tasks` by short name, and lengths, None if not on the page."""

    tasks: Mapping[str, TaskMetrics]
    queued: float | None
    scheduled: float | None


class Buckets(defaultdict[float, float]):
    """The cumulative buckets, by upper bound, of all histograms of one task."""

    def __init__(self) -> None:
        super().__init__(float)

    def add(self, sample: Sample) -> None:
        """Add one bucket."""
        self[float(sample.labels["le"])] += sample.value


def scrape(url: str) -> Page | None:
    """Read the page at *url*; None if it does not answer with 200."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return read(text) if answer.status == 200 else None


def read(text: str) -> Page:
    """Read a page in Prometheus' text format."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    waits: defaultdict[str, Buckets] = defaultdict(Buckets)
    durations: defaultdict[str, Buckets] = defaultdict(Buckets)
    lengths: dict[str, float] = {}
    for sample in _samples(text):
        task = sample.labels.get("task", "").rpartition(".")[2]
        if sample.name in ("huey_queue_length", "huey_schedule_length"):
            lengths[sample.name] = sample.value
        elif sample.name == "huey_task_wait_seconds_bucket":
            waits[task].add(sample)
        elif sample.name == "huey_task_duration_seconds_bucket":
            durations[task].add(sample)
        elif (counted := _counted(sample)) is not None:
            counts[task][counted] += int(sample.value)
    return Page(
        tasks={
            task: TaskMetrics(
                counts=counts[task],
                wait=quantile(0.95, waits[task]),
                duration=quantile(0.95, durations[task]),
            )
            for task in sorted(counts)
        },
        queued=lengths.get("huey_queue_length"),
        scheduled=lengths.get("huey_schedule_length"),
    )


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """Estimate the *q* quantile of cumulative *buckets* by upper bound.

    Like Prometheus' histogram_quantile: linear within a bucket, and the highest
    finite bound if the quantile is above it. None if nothing was observed.
    """
    rank = q * buckets.get(math.inf, 0.0)
    if not rank:
        return None
    lower = below = 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return None


def _samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def _counted(sample: Sample) -> str | None:
    """Name what *sample* counts, one of `COUNTED`; None if it is another metric."""
    match sample.name, sample.labels.get("outcome"):
        case "huey_task_attempts_total", _:
            return STARTED
        case "huey_tasks_finished_total", "success":
            return FINISHED
        case "huey_task_attempts_finished_total", "error" | "timeout":
            return FAILED
        case "huey_task_retries_total", _:
            return RETRIED
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDifference:
    """A task whose counts on the page are not the expected ones."""

    task: str
    expected: Counter[str]
    seen: Counter[str]

    def __str__(self) -> str:
        differing = [each for each in COUNTED if self.expected[each] != self.seen[each]]
        counts = (
            f"expected {self.expected[each]} {each}, {self.seen[each]} seen"
            for each in differing
        )
        return f"{self.task}: " + "; ".join(counts)


class ExpectedCounts:
    """The counts that ledgers, added up, predict for the metrics page."""

    def __init__(self) -> None:
        self._once: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._repeated: dict[str, Counter[str]] = {}

    def add(self, ledger: Iterable[Expected]) -> None:
        """Add what *ledger* expects."""
        for each in ledger:
            if each.task is None:
                continue
            counted = Counter(
                COUNTED_STATUSES[status]
                for status in each.statuses
                if status in COUNTED_STATUSES
            )
            if each.repeats:
                self._repeated[each.task] = counted
            else:
                self._once[each.task].update(counted)

    def differences(self, page: Page) -> list[CountDifference]:
        """Compare with *page*; an empty list means that all counts are as expected."""
        seen = {task: metrics.counts for task, metrics in page.tasks.items()}
        pairs = (
            CountDifference(
                task=task,
                expected=self._expected(task, seen.get(task, Counter())),
                seen=seen.get(task, Counter()),
            )
            for task in sorted(seen.keys() | self._once.keys())
        )
        return [pair for pair in pairs if pair.expected != pair.seen]

    def _expected(self, task: str, seen: Counter[str]) -> Counter[str]:
        """Add a repeated task's counts once for each of its starts on the page."""
        expected = Counter(self._once.get(task, Counter()))
        repeated = self._repeated.get(task)
        if repeated is not None:
            for _ in range(seen[STARTED] - expected[STARTED]):
                expected += repeated
        return expected
