"""The tasks compared with one another, below the first screen."""

from typing import Final

from grafana.overview.terms import NOTHING_RAN, THE_TASK
from grafana.vocabulary.meaning import (
    COUNT,
    PER_SECOND,
    REST,
    SECONDS,
    SHARE,
    coloured,
    thresholds,
)
from grafana.vocabulary.panels import At, Panel, lines, query, row
from grafana.vocabulary.promql import (
    FAILED,
    QUEUES,
    RANGE,
    RATE,
    STEP,
    TASK,
    counted,
    increase,
    most,
    others,
    over_the_range,
    percentile,
    rate,
    short,
    top,
    total,
)
from grafana.vocabulary.series import FINISHED, WORKERS
from grafana.vocabulary.table import hidden, label, number, table

NAME_AND_QUEUE: Final = "{{name}} · {{queue}}"


def tasks(y: int) -> list[Panel]:
    """Compare the tasks with one another, below the first screen."""
    return [
        row("Tasks", y - 1),
        time_goes(At(0, y, 12, 12)),
        by_class(At(12, y, 12, 6)),
        _by_task(
            "Retries",
            At(12, y + 6, 12, 6),
            "Attempts that were put back, by task: what is called does not answer.",
            QUEUES("huey_task_retries_total"),
            7,
            "no retries",
        ),
        _by_task(
            "Finished by task",
            At(0, y + 12, 12, 8),
            "Tasks at their final end, whatever it was.",
            QUEUES(FINISHED),
            10,
            NOTHING_RAN,
        ),
        _by_task(
            "Failures by task",
            At(12, y + 12, 12, 8),
            "Since when which task finally fails, times out or is lost.",
            QUEUES(FINISHED, FAILED),
            10,
            "no task has failed",
        ),
        running_longest(At(0, y + 20, 24, 8)),
    ]


def time_goes(at: At) -> Panel:
    """Name the tasks on which the workers spend their time."""
    spent = total(increase(QUEUES("huey_task_duration_seconds_sum")), "queue", "task")
    # By steps, since a consumer may have been there for a part of the time.
    had = f"sum(sum_over_time({WORKERS}[{RANGE}:{STEP}])) * {STEP.seconds}"
    heaviest = f"topk(15, {spent} / scalar({had}) > 0)"
    among = f"and on ({TASK}) {heaviest}"
    attempts = total(increase(QUEUES("huey_task_attempts_total")), "queue", "task")
    run, wait = (
        percentile(0.95, QUEUES(f"{name}_bucket"), "queue", "task", window=RANGE)
        for name in ("huey_task_duration_seconds", "huey_task_wait_seconds")
    )
    return table(
        "Where the time goes",
        at,
        "The fifteen tasks that took most of the workers' time in the time shown; a "
        "long one counts when it has ended.",
        THE_TASK,
        label("queue", "Queue", 90),
        number(
            "Share of workers",
            short(heaviest),
            SHARE,
            160,
            gauge=True,
            decimals=1,
            steps=thresholds("blue"),
        ),
        number("Attempts", short(f"round({attempts}) {among}"), COUNT, 85, decimals=0),
        number("Run p95", short(f"{run} {among}"), SECONDS, 85),
        number("Wait p95", short(f"{wait} {among}"), SECONDS, 85),
        hidden("task"),
        sort="Share of workers",
        none=NOTHING_RAN,
    )


def by_class(at: At) -> Panel:
    """Show which exceptions are raised."""
    metric = "huey_task_exceptions_total"
    each = total(counted(QUEUES, metric, window=RATE), "exception")
    values = f"{each} / ({RATE.seconds})"
    ranking = total(over_the_range(increase(QUEUES(metric))), "exception")
    ranking = f"({ranking} or {total(QUEUES(metric), 'exception')} * 0 + 1e-9)"
    return lines(
        "Exceptions by class",
        at,
        "What attempts raised, retried or not. The seven most frequent classes.",
        query(
            short(f"({top(7, values, ranking, 'exception')})", "exception"),
            "{{name}}",
        ),
        query(others(7, values, ranking, "exception"), "others"),
        unit=PER_SECOND,
        none="no exceptions",
        stacked=True,
        interval="1m",
        legend=("mean", "max"),
        overrides=coloured({"others": REST}),
    )


def running_longest(at: At) -> Panel:
    """Show the age of what runs: a hang is a rising row of points."""
    each = most(QUEUES("huey_task_running_age_seconds"), "queue", "task")
    highest = most(
        f"max_over_time({QUEUES('huey_task_running_age_seconds')}[{RANGE}] @ end())",
        "queue",
        "task",
    )
    return lines(
        "Running longest",
        at,
        "The age of the oldest attempt of a task that runs, for the ten with the "
        "highest. A task that hangs is a rising row of points.",
        query(short(f"({top(10, each, highest, TASK)})"), NAME_AND_QUEUE),
        unit=SECONDS,
        none="nothing runs",
        points=True,
        legend=("max",),
    )


def _by_task(
    title: str,
    at: At,
    description: str,
    counter: str,
    shown: int,
    none: str,
) -> Panel:
    each = total(rate(counter), "queue", "task")
    ranking = total(over_the_range(increase(counter)), "queue", "task")
    return lines(
        title,
        at,
        description,
        query(short(f"({top(shown, each, ranking, TASK)})"), NAME_AND_QUEUE),
        query(others(shown, each, ranking, TASK), "others"),
        unit=PER_SECOND,
        none=none,
        stacked=True,
        interval="1m",
        legend=("mean", "max"),
        overrides=coloured({"others": REST}),
    )
