"""The charts: since when it is so."""

from grafana.overview.tables import firing
from grafana.overview.terms import NOTHING_RAN
from grafana.vocabulary.meaning import (
    BAD,
    OUTCOMES,
    PER_SECOND,
    SECONDS,
    SHARE,
    coloured,
    thresholds,
)
from grafana.vocabulary.panels import At, Panel, dashed, heatmap, lines, query
from grafana.vocabulary.promql import (
    FAILED,
    QUEUES,
    RAN,
    RANGE,
    SUCCESS,
    busy_workers,
    increase,
    most,
    over_the_range,
    rate,
    total,
)
from grafana.vocabulary.series import BUSY, FINISHED, PENDING, SCHEDULED, WORKERS


def charts() -> list[Panel]:
    """Show when it began."""
    return [
        throughput(At(0, 4, 10, 7)),
        lines(
            "New and finished",
            At(10, 4, 6, 7),
            "Where “new” is above “finished”, the backlog grows. New is worked out "
            "from what finished and how queue and schedule grew, since a web process "
            "that enqueues has no page of its own; it is blunt to a minute or two.",
            query(
                f"clamp_min({total(rate(QUEUES(FINISHED), '2m'))} + "
                f"deriv(({total(PENDING)} + {total(SCHEDULED)})[2m:]), 0)",
                "new",
            ),
            query(total(rate(QUEUES(FINISHED), "2m")), "finished"),
            unit=PER_SECOND,
            none=NOTHING_RAN,
            interval="30s",
            overrides=coloured({"new": "blue", "finished": "green"}),
        ),
        firing(At(16, 4, 8, 7)),
        heatmap(
            "How long attempts waited",
            At(0, 11, 9, 7),
            "From when an attempt was due until it started. The brighter, the more; a "
            "point is an attempt and leads to its trace.",
            total(rate(QUEUES("huey_task_wait_seconds_bucket")), "le"),
            scheme="Oranges",
            none=NOTHING_RAN,
        ),
        backlog(At(9, 11, 5, 7)),
        oldest_waits(At(14, 11, 5, 7)),
        lines(
            "Workers busy by queue",
            At(19, 11, 5, 7),
            "Of the workers' time, what tasks took. A queue that stays above the line "
            "has too few workers.",
            query(
                _top_queues(
                    f"{total(busy_workers(QUEUES, '1m'), 'queue')} "
                    f"/ {total(WORKERS, 'queue')}",
                    total(over_the_range(increase(BUSY)), "queue"),
                ),
                "{{queue}}",
            ),
            unit=SHARE,
            none="no workers",
            largest=1,
            fill=8,
            limit=thresholds("transparent", (0.95, BAD)),
        ),
    ]


def throughput(at: At) -> Panel:
    """Show what finished: success first, then what is bad, then the rest."""
    return lines(
        "Throughput by outcome",
        at,
        "Tasks at their final end, one per task, however often it was retried.",
        *(
            query(
                total(rate(QUEUES(FINISHED, outcomes)), "outcome") + " > 0",
                "{{outcome}}",
            )
            for outcomes in (SUCCESS, FAILED, RAN.replace("=~", "!~"))
        ),
        unit=PER_SECOND,
        none=NOTHING_RAN,
        interval="30s",
        stacked=True,
        overrides=coloured(OUTCOMES),
    )


def backlog(at: At) -> Panel:
    """Show what waits, by queue, and what is scheduled, in all."""
    longest = f"max_over_time({QUEUES('huey_queue_length')}[{RANGE}] @ end())"
    return lines(
        "Backlog",
        at,
        "Tasks that wait, of the six queues with the most. Dashed: what is scheduled "
        "for later, of all queues; retries with a delay are there, too.",
        query(_top_queues(PENDING, longest, at_least=0), "{{queue}}"),
        query(total(SCHEDULED), "scheduled"),
        unit="short",
        none="unknown",
        soft_max=5,
        overrides=[dashed("scheduled", "blue")],
    )


def oldest_waits(at: At) -> Panel:
    """Show for how long the oldest task waits, 0 where none does."""
    age = most(QUEUES("huey_queue_oldest_age_seconds"), "queue")
    highest = (
        f"max_over_time({QUEUES('huey_queue_oldest_age_seconds')}[{RANGE}] @ end())"
    )
    overdue = QUEUES("huey_schedule_overdue_age_seconds")
    return lines(
        "Oldest wait by queue",
        at,
        "The oldest task of a queue, whatever its length. Dashed: what is due on the "
        "schedule and no scheduler has moved; it should be near 0.",
        query(
            _top_queues(f"({age} or {PENDING} * 0)", highest, at_least=0), "{{queue}}"
        ),
        query(f"max({overdue}) or max({SCHEDULED} * 0)", "overdue"),
        unit=SECONDS,
        none="unknown",
        soft_max=5,
        overrides=[dashed("overdue", "blue")],
    )


def _top_queues(values: str, ranking: str, at_least: float | None = None) -> str:
    """Keep six queues; those with nothing in the ranking, if there are fewer."""
    ranked = most(ranking, "queue")
    if at_least is not None:
        ranked = f"({ranked} or {PENDING} * {at_least})"
    return f"{values} and on (queue) topk(6, {ranked})"
