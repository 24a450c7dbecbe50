"""What pages say of now: the consumers, what runs longest, and periodic tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from huey_otel import _names as n
from huey_otel.cli.top.pages import ConsumerPage
from huey_otel.cli.top.snapshot import Fleet, Periodic, Running

_GRACE: Final = 120.0
"""Seconds after which a periodic task that was due should have begun."""


def fleet(pages: Sequence[ConsumerPage], now: float) -> Fleet:
    """The consumers that have not ended."""
    living = [page for page in pages if page.lives]
    silent = [page for page in pages if page.silent and not page.ended]
    return Fleet(
        consumers=len(living),
        workers=int(sum(page.total(n.WORKERS) for page in living)),
        busy=int(sum(page.total(n.WORKERS_BUSY) for page in living)),
        silent=sorted(
            ((page.consumer, now - page.made) for page in silent),
            key=lambda one: -one[1],
        ),
        stuck=[
            (page.consumer, labels.get("reason", ""))
            for page in living
            for labels, value in page.samples(n.CONSUMER_STUCK)
            if value
        ],
    )


def running(pages: Sequence[ConsumerPage], now: float) -> list[Running]:
    """The oldest attempt of each task on each consumer, the oldest of all first."""
    found = [
        Running(
            task=labels.get("task", ""),
            consumer=page.consumer,
            age=value + max(0.0, now - page.made),
        )
        for page in pages
        if page.lives
        for labels, value in page.samples(n.TASK_RUNNING_AGE)
    ]
    return sorted(found, key=lambda one: -one.age)


def periodic(pages: Sequence[ConsumerPage], now: float) -> list[Periodic]:
    """Each periodic task, those that are late first."""
    due = _latest(page.moments(n.PERIODIC_NEXT_RUN) for page in pages)
    interval = _latest(page.samples(n.PERIODIC_INTERVAL) for page in pages)
    succeeded = _latest(page.moments(n.TASK_LAST_SUCCESS) for page in pages)
    runs = {
        labels.get("task", "")
        for page in pages
        if page.lives
        for labels, value in page.samples(n.TASKS_IN_PROGRESS)
        if value
    }
    # The last page of one that has ended shows that it was there.
    since = min((page.started or page.made for page in pages), default=now)
    found = []
    for task in due.keys() | interval.keys():
        ahead, last = due.get(task), succeeded.get(task)
        late = False
        if ahead is not None and task in interval and task not in runs:
            # No consumer that lives says that it was due at *ahead*, and not later.
            before = ahead - interval[task] if now <= ahead + _GRACE else ahead
            # What was before all consumers started is not known.
            if now > before + _GRACE:
                late = (since if last is None else last) < before
        found.append(Periodic(task=task, succeeded=last, due=ahead, late=late))
    return sorted(found, key=lambda one: (not one.late, one.due or 0.0, one.task))


def _latest(
    told: Iterable[Sequence[tuple[Mapping[str, str], float]]],
) -> Mapping[str, float]:
    """The largest value by task, of what pages have *told*."""
    found: dict[str, float] = {}
    for samples in told:
        for labels, value in samples:
            task = labels.get("task", "")
            found[task] = max(value, found.get(task, value))
    return found
