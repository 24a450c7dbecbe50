"""The dashboard Task: how one task does."""

from typing import Final

from grafana.vocabulary import page
from grafana.vocabulary.meaning import (
    BAD,
    DOUBTFUL,
    GOOD,
    NEUTRAL,
    OUTCOMES,
    PER_SECOND,
    SECONDS,
    SHARE,
    UNKNOWN,
    coloured,
    named,
    thresholds,
)
from grafana.vocabulary.panels import (
    At,
    Json,
    Panel,
    heatmap,
    lines,
    query,
    tile,
)
from grafana.vocabulary.promql import (
    FAILED,
    QUEUES,
    RAN,
    RANGE,
    RATE,
    SUCCESS,
    Scope,
    counted,
    most,
    percentile,
    rate,
    share,
    short,
    total,
    who,
)

ONE: Final = QUEUES.within('task="$task"')
FINISHED: Final = "huey_tasks_finished_total"
ATTEMPTS: Final = "huey_task_attempts_total"
NOT_RUN: Final = "did not run"
NOT_SEEN: Final = "not seen"
DURATION: Final = "huey_task_duration_seconds_bucket"
WAIT: Final = "huey_task_wait_seconds_bucket"

# Who enqueues is often a web process, of another job than the consumers.
PRODUCERS: Final = Scope('namespace=~"$namespace", queue=~"$queue", task="$task"')

QUANTILES: Final = {
    "p50": (0.5, "super-light-blue"),
    "p95": (0.95, "blue"),
    "p99": (0.99, "dark-blue"),
}


def build() -> Json:
    """Build the dashboard."""
    chosen = page.variable("task", "Task", QUEUES(ATTEMPTS), several=False)
    return page.dashboard(
        page.TASK,
        "Task",
        [*tiles(), *ends(4), *times(12), *places(28)],
        more_variables=[chosen],
        traces="huey.task.name=$task",
    )


def tiles() -> list[Panel]:
    """Say how the task does in the time shown."""
    ran = counted(ONE, FINISHED, RAN)
    last_success = ONE("huey_task_last_success_timestamp_seconds")
    last_failure = ONE("huey_task_last_failure_timestamp_seconds")
    return [
        tile(
            "Success",
            At(0, 0, 3, 4),
            "Of the runs that ended in the time shown, those that succeeded; a retry "
            "that helps is a success.",
            share(
                counted(ONE, FINISHED, SUCCESS),
                ran,
            ),
            unit=SHARE,
            steps=thresholds(BAD, (0.9, DOUBTFUL), (0.99, GOOD)),
            unknown=(NOT_RUN, NEUTRAL),
            decimals=1,
        ),
        tile(
            "Runs",
            At(3, 0, 3, 4),
            "Tasks at their final end, whatever it was; one per task, however often it "
            "was retried.",
            f"round({total(counted(ONE, FINISHED))})",
            unknown=(NOT_RUN, NEUTRAL),
        ),
        tile(
            "Failed",
            At(6, 0, 3, 4),
            "Runs that finally failed, timed out or were lost with a worker.",
            f"round({total(counted(ONE, FINISHED, FAILED))})",
            steps=thresholds(GOOD, (1, UNKNOWN)),
            unknown=(NOT_RUN, NEUTRAL),
        ),
        tile(
            "Attempts per run",
            At(9, 0, 3, 4),
            "1 means no retries. From 2 on, every run is retried on average: what the "
            "task calls does not answer.",
            share(counted(ONE, ATTEMPTS), ran),
            unit="none",
            steps=thresholds(GOOD, (1.2, DOUBTFUL), (2, BAD)),
            unknown=(NOT_RUN, NEUTRAL),
            decimals=2,
        ),
        tile(
            "Run p95",
            At(12, 0, 3, 4),
            "95 % of the attempts in the time shown took no longer. It is off by at "
            "most a quarter, from 10 ms to 10 s. Whether it is slow, you know.",
            percentile(0.95, ONE(DURATION), window=RANGE),
            unit=SECONDS,
            unknown=(NOT_RUN, NEUTRAL),
        ),
        tile(
            "Running now",
            At(15, 0, 4, 4),
            "Attempts that run, and for how long the oldest of them does.",
            {
                "attempts": total(ONE("huey_tasks_in_progress")),
                "oldest": f"max({ONE('huey_task_running_age_seconds')})",
            },
            overrides=[
                named(
                    "oldest",
                    {"id": "unit", "value": SECONDS},
                    {
                        "id": "thresholds",
                        "value": thresholds(NEUTRAL, (600, DOUBTFUL), (3600, BAD)),
                    },
                ),
            ],
        ),
        tile(
            "Last success and failure",
            At(19, 0, 5, 4),
            "How long ago a run last succeeded and last finally failed, on consumers "
            "that run now: they know it since their start.",
            {
                "success": f"time() - max({last_success})",
                "failure": f"time() - max({last_failure})",
            },
            unit=SECONDS,
            unknown=(NOT_SEEN, NEUTRAL),
            overrides=[
                named("success", {"id": "thresholds", "value": thresholds(GOOD)}),
                named("failure", {"id": "thresholds", "value": thresholds(BAD)}),
            ],
        ),
    ]


def ends(y: int) -> list[Panel]:
    """Show how runs and attempts end, and what they raise."""
    raised = counted(ONE, "huey_task_exceptions_total", window=RATE)
    return [
        _by_outcome(
            "Runs by outcome",
            At(0, y, 8, 8),
            "Tasks at their final end, one per task.",
            FINISHED,
        ),
        _by_outcome(
            "Attempts by outcome",
            At(8, y, 8, 8),
            "Each attempt, retried or not: errors here that are no failures beside it "
            "were mended by a retry.",
            "huey_task_attempts_finished_total",
        ),
        lines(
            "Exceptions",
            At(16, y, 8, 8),
            "What attempts raised, by class.",
            query(
                short(
                    f"({total(raised, 'exception')} / ({RATE.seconds}) > 0)",
                    "exception",
                ),
                "{{name}}",
            ),
            unit=PER_SECOND,
            none="no exceptions",
            interval="1m",
            stacked=True,
            shades=BAD,
        ),
    ]


def times(y: int) -> list[Panel]:
    """Show how long it takes and waits."""
    return [
        _percentiles(
            "Run percentiles",
            At(0, y, 12, 8),
            "How long attempts took that ended in success, an error or a timeout, over "
            "two minutes. A point is an attempt and leads to its trace.",
            DURATION,
        ),
        _percentiles(
            "Wait percentiles",
            At(12, y, 12, 8),
            "From when an attempt was due until it started, over two minutes.",
            WAIT,
        ),
        heatmap(
            "Run times",
            At(0, y + 8, 12, 8),
            "How many attempts took how long. Two bands are two kinds of work.",
            total(rate(ONE(DURATION)), "le"),
            scheme="Blues",
            none=NOT_RUN,
        ),
        heatmap(
            "Wait times",
            At(12, y + 8, 12, 8),
            "How many attempts waited for how long.",
            total(rate(ONE(WAIT)), "le"),
            scheme="Oranges",
            none=NOT_RUN,
        ),
    ]


def places(y: int) -> list[Panel]:
    """Show where it runs and where it comes from."""
    age = most(who(ONE("huey_task_running_age_seconds")), "name")
    put = PRODUCERS("huey_tasks_enqueued_total")
    again = ONE("huey_task_requeues_total")
    return [
        lines(
            "Running age",
            At(0, y, 8, 7),
            "The age of the oldest attempt that runs, by consumer. A rising row of "
            "points hangs.",
            query(age, "{{name}}"),
            unit=SECONDS,
            none="not running",
            points=True,
        ),
        lines(
            "Enqueued by origin",
            At(8, y, 8, 7),
            "New work by origin, as far as the processes that enqueue it are scraped; "
            "and work put back: a retry, or what was scheduled and is due.",
            query(f"{total(rate(put), 'origin')} > 0", "{{origin}}"),
            query(f"{total(rate(again), 'reason')} > 0", "put back: {{reason}}"),
            unit=PER_SECOND,
            none=NOT_SEEN,
            interval="1m",
            stacked=True,
        ),
        lines(
            "Attempts by consumer",
            At(16, y, 8, 7),
            "Attempts that started. A consumer that has none while others do is worth "
            "a look.",
            query(f"{total(who(rate(ONE(ATTEMPTS))), 'name')} > 0", "{{name}}"),
            unit=PER_SECOND,
            none=NOT_RUN,
            interval="1m",
            stacked=True,
        ),
    ]


def _by_outcome(title: str, at: At, description: str, counter: str) -> Panel:
    """Stack success first, then what is bad, then the rest."""
    failed = 'outcome=~"failure|error|timeout|lost"'
    rest = 'outcome!~"success|failure|error|timeout|lost"'
    return lines(
        title,
        at,
        description,
        *(
            query(f"{total(rate(ONE(counter, each)), 'outcome')} > 0", "{{outcome}}")
            for each in (SUCCESS, failed, rest)
        ),
        unit=PER_SECOND,
        none=NOT_RUN,
        interval="1m",
        stacked=True,
        overrides=coloured(OUTCOMES),
    )


def _percentiles(title: str, at: At, description: str, buckets: str) -> Panel:
    return lines(
        title,
        at,
        description,
        *(
            query(
                percentile(part, ONE(buckets), window="2m"),
                name,
                exemplars=name == "p95",
            )
            for name, (part, _) in QUANTILES.items()
        ),
        unit=SECONDS,
        none=NOT_RUN,
        overrides=coloured({name: colour for name, (_, colour) in QUANTILES.items()}),
    )
