"""Rates: what became of tasks in the last minute, from pages that follow each other."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.catalog import FAILED_TASKS
from huey_otel.cli.top.pages import ConsumerPage
from huey_otel.cli.top.snapshot import Rate

WINDOW: Final = 60.0
"""Seconds that a rate is over, once there are pages for so long."""

_QUANTILE: Final = 0.95


class _Counts(NamedTuple):
    """What a page counts of one task; *buckets* are cumulative, by upper bound."""

    done: float = 0.0
    failed: float = 0.0
    buckets: Mapping[float, float] = {}


class _Seen(NamedTuple):
    """What a consumer's page counted when it was *made*, in Unix seconds."""

    made: float
    counts: Mapping[str, _Counts]


class Rates:
    """Keeps the pages' counts of the last minute, by consumer."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[_Seen]] = {}

    def take(self, pages: Iterable[ConsumerPage]) -> None:
        """Note *pages*; those of consumers that are not among them are forgotten."""
        known, self._seen = self._seen, {}
        for page in pages:
            seen = known.get(page.consumer, deque())
            if not seen or page.made > seen[-1].made + 0.5:
                seen.append(_Seen(page.made, _counts(page)))
            while len(seen) > 2 and seen[1].made <= page.made - WINDOW:
                seen.popleft()
            self._seen[page.consumer] = seen

    def rates(
        self, pages: Sequence[ConsumerPage]
    ) -> tuple[float | None, Sequence[Rate]]:
        """Over how many seconds the rates are, and what they are, the worst first.

        None for since each consumer's start: no page has followed another one yet.
        """
        spans = [self._span(page) for page in pages]
        windows = [last.made - first.made for first, last in filter(None, spans)]
        if windows:
            return max(windows), _rates(filter(None, spans))
        started = [
            (_Seen(page.started, {}), self._seen[page.consumer][-1])
            for page in pages
            if not page.ended
        ]
        return None, _rates(started)

    def _span(self, page: ConsumerPage) -> tuple[_Seen, _Seen] | None:
        """What was first and last counted in the last minute; None if only once."""
        seen = self._seen[page.consumer]
        last = seen[-1]
        if last.made - page.started < WINDOW:
            return _Seen(page.started, {}), last
        return (seen[0], last) if len(seen) > 1 else None


def _rates(spans: Iterable[tuple[_Seen, _Seen]]) -> list[Rate]:
    done: dict[str, float] = {}
    a_minute: dict[str, float] = {}
    failed: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for first, last in spans:
        seconds = max(last.made - first.made, 1e-3)
        for task, counts in last.counts.items():
            before = first.counts.get(task, _Counts())
            more = counts.done - before.done
            done[task] = done.get(task, 0.0) + more
            a_minute[task] = a_minute.get(task, 0.0) + more * 60 / seconds
            failed[task] = failed.get(task, 0.0) + counts.failed - before.failed
            of_task = buckets.setdefault(task, {})
            for bound, count in counts.buckets.items():
                more = count - before.buckets.get(bound, 0.0)
                of_task[bound] = of_task.get(bound, 0.0) + more
    found = [
        Rate(
            task=task,
            done=a_minute[task],
            failed=failed[task] / done[task],
            p95=quantile(_QUANTILE, buckets[task]),
        )
        for task in done
        if done[task] > 0
    ]
    return sorted(found, key=lambda one: (-(one.failed or 0), -one.done, one.task))


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """As Prometheus' histogram_quantile: of cumulative *buckets* by upper bound.

    None where nothing was counted.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank = share * total
    below, lower = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if math.isinf(bound):
                return lower
            if count == below:
                return bound
            return lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return lower


def _counts(page: ConsumerPage) -> dict[str, _Counts]:
    done: dict[str, float] = {}
    failed: dict[str, float] = {}
    for labels, value in page.samples(n.TASKS_FINISHED_TOTAL):
        task = labels.get("task", "")
        done[task] = done.get(task, 0.0) + value
        if labels.get("outcome") in FAILED_TASKS:
            failed[task] = failed.get(task, 0.0) + value
    buckets: dict[str, dict[float, float]] = {}
    for labels, value in page.samples(f"{n.TASK_DURATION_SECONDS}_bucket"):
        bound = float(labels["le"])
        buckets.setdefault(labels.get("task", ""), {})[bound] = value
    return {
        task: _Counts(done[task], failed.get(task, 0.0), buckets.get(task, {}))
        for task in done
    }
