"""The consumer's metrics page, read back: figures per task, and the queue's depth."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

STARTED = "started"
FINISHED = "finished"
FAILED = "failed"
RETRIED = "retried"
COUNTED = (STARTED, FINISHED, FAILED, RETRIED)

_PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the page says of one task: `counts` by `COUNTED`, p95s in seconds.

    A p95 is None while nothing was observed.
    """

    counts: Counter[str]
    wait: float | None
    duration: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One scrape. `tasks` is by short name; the depths None where not on the page."""

    tasks: Mapping[str, Figures]
    queued: float | None
    scheduled: float | None


class Buckets(defaultdict[float, float]):
    """Cumulative counts by upper bound, of all histograms of one task."""

    def __init__(self) -> None:
        super().__init__(float)

    def add(self, sample: Sample) -> None:
        """Add one bucket."""
        self[float(sample.labels["le"])] += sample.value


def scrape(url: str) -> Page | None:
    """Read the page at *url*; None if there is none."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_PATIENCE)
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
    depths: dict[str, float] = {}
    for sample in _samples(text):
        task = sample.labels.get("task", "").rpartition(".")[2]
        if sample.name in ("huey_queue_length", "huey_schedule_length"):
            depths[sample.name] = sample.value
        elif sample.name == "huey_task_wait_seconds_bucket":
            waits[task].add(sample)
        elif sample.name == "huey_task_duration_seconds_bucket":
            durations[task].add(sample)
        elif (column := _column(sample)) is not None:
            counts[task][column] += int(sample.value)
    return Page(
        tasks={
            task: Figures(
                counts=counts[task],
                wait=quantile(0.95, waits[task]),
                duration=quantile(0.95, durations[task]),
            )
            for task in sorted(counts)
        },
        queued=depths.get("huey_queue_length"),
        scheduled=depths.get("huey_schedule_length"),
    )


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """Give the *q* quantile of *buckets*, which are cumulative and by upper bound.

    As Prometheus' histogram_quantile: linear within a bucket, and the highest
    bound for what is beyond it. None if nothing was observed.
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


def _column(sample: Sample) -> str | None:
    """In which column of a task *sample* counts, if in any."""
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
