"""Rates: what became of tasks in the last minute, from pages that follow each other."""

import itertools
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

_NEAR: Final = 0.1
"""By what share of them pages may be further apart, or less far: nothing is scaled."""

_APART: Final = 4.0
"""Seconds between two pages that are kept: some consumers write one each second."""

_SAME: Final = 1.0
"""Seconds by which the start of a consumer may seem to move."""

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


class _Span(NamedTuple):
    """What a consumer counted *first* and *last*, and by what to multiply the rest.

    That makes of it what was done in a minute. It is over so many *seconds*.
    """

    first: Mapping[str, _Counts]
    last: Mapping[str, _Counts]
    scale: float
    seconds: float


class Rates:
    """Keeps the pages' counts of the last minute, by consumer."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[_Seen]] = {}
        self._started: dict[str, float] = {}

    def take(self, pages: Iterable[ConsumerPage]) -> None:
        """Note *pages*; those of consumers that are not among them are forgotten."""
        known, self._seen = self._seen, {}
        started, self._started = self._started, {}
        for page in pages:
            seen = known.get(page.consumer, deque())
            # The last page of a consumer does not tell.
            before = started.get(page.consumer)
            at = before if page.started is None else page.started
            if at is not None:
                self._started[page.consumer] = at
                if before is not None and abs(at - before) > _SAME:
                    # Another one under its name, which counts from 0.
                    seen.clear()
            if not seen:
                seen.append(_Seen(page.made, _counts(page, {})))
            elif page.made > seen[-1].made + 0.5:
                counts = _counts(page, seen[-1].counts)
                if len(seen) > 1 and seen[-1].made < seen[-2].made + _APART:
                    seen.pop()
                seen.append(_Seen(page.made, counts))
            while len(seen) > 2 and seen[1].made <= page.made - WINDOW:
                seen.popleft()
            self._seen[page.consumer] = seen

    def rates(
        self, pages: Sequence[ConsumerPage], now: float
    ) -> tuple[float | None, Sequence[Rate]]:
        """Over how many seconds the rates are, and what they are, the worst first.

        None where those of a consumer are since its start: it is older than a minute,
        and no other page of it has followed yet.
        """
        spans, so_far = [], []
        for page in pages:
            span = self._span(page, now)
            if span is not None:
                spans.append(span)
            elif page.lives and page.consumer in self._started:
                so_far.append(self._since_its_start(page))
        window = min((one.seconds for one in spans), default=None)
        return None if so_far else window, _rates([*spans, *so_far])

    def _span(self, page: ConsumerPage, now: float) -> _Span | None:
        """What was counted in the last minute; None if that is not known.

        Of a consumer that lives it is the minute before its last page.
        """
        seen = self._seen[page.consumer]
        last = seen[-1]
        begin = (last.made if page.lives else now) - WINDOW
        wanted = last.made - begin
        if wanted <= 0:
            return _Span({}, {}, 1.0, WINDOW)
        if self._started.get(page.consumer, begin - 1) >= begin:
            return _Span({}, last.counts, 1.0, WINDOW)
        if len(seen) < 2:
            return None
        earlier = itertools.islice(seen, len(seen) - 1)
        first = min(earlier, key=lambda one: abs(one.made - begin))
        seconds = last.made - first.made
        if abs(seconds - wanted) <= _NEAR * WINDOW:
            return _Span(first.counts, last.counts, 1.0, WINDOW)
        return _Span(first.counts, last.counts, wanted / seconds, seconds)

    def _since_its_start(self, page: ConsumerPage) -> _Span:
        seconds = max(page.made - self._started[page.consumer], WINDOW)
        last = self._seen[page.consumer][-1]
        return _Span({}, last.counts, WINDOW / seconds, seconds)


def _rates(spans: Iterable[_Span]) -> list[Rate]:
    done: dict[str, float] = {}
    a_minute: dict[str, float] = {}
    failed: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for first, last, scale, _ in spans:
        for task, counts in last.items():
            before = first.get(task, _Counts())
            if counts is before:
                continue
            more = counts.done - before.done
            done[task] = done.get(task, 0.0) + more
            a_minute[task] = a_minute.get(task, 0.0) + more * scale
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


def _counts(page: ConsumerPage, before: Mapping[str, _Counts]) -> Mapping[str, _Counts]:
    """What *page* counts; what is as it was *before* is the same object."""
    done: dict[str, float] = {}
    failed: dict[str, float] = {}
    for labels, value in page.samples(n.TASKS_FINISHED_TOTAL):
        task = labels.get("task", "")
        done[task] = done.get(task, 0.0) + value
        if labels.get("outcome") in FAILED_TASKS:
            failed[task] = failed.get(task, 0.0) + value
    buckets: dict[str, dict[float, float]] = {}
    for labels, value in page.samples(f"{n.TASK_DURATION_SECONDS}_bucket"):
        bound = _bound(labels.get("le", ""))
        if bound is not None:
            buckets.setdefault(labels.get("task", ""), {})[bound] = value
    found = {}
    for task in done:
        counts = _Counts(done[task], failed.get(task, 0.0), buckets.get(task, {}))
        known = before.get(task)
        found[task] = known if known is not None and known == counts else counts
    return found


def _bound(text: str) -> float | None:
    """The upper bound of a bucket; None for what is none."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
