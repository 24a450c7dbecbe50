"""The tiles: eight numbers that say whether all is well."""

from grafana.vocabulary import presence
from grafana.vocabulary.meaning import (
    BAD,
    DOUBTFUL,
    GOOD,
    NEUTRAL,
    SECONDS,
    SHARE,
    UNKNOWN,
    named,
    thresholds,
)
from grafana.vocabulary.panels import At, Json, Panel, tile
from grafana.vocabulary.promql import (
    FAILED,
    QUEUES,
    RAN,
    SUCCESS,
    TARGETS,
    WHERE_KNOWN,
    busy_workers,
    counted,
    most,
    percentile,
    share,
    total,
)
from grafana.vocabulary.series import FINISHED, PENDING, WORKERS


def tiles() -> list[Panel]:
    """Say in eight numbers whether all is well."""
    alerts = WHERE_KNOWN("ALERTS", 'alertname=~"Huey.*"', 'alertstate="firing"')
    rules = "max(huey:rules:info)"
    oldest = most(QUEUES("huey_queue_oldest_age_seconds"), "queue")
    wait = percentile(0.95, QUEUES("huey_task_wait_seconds_bucket"), window="5m")
    alive = f"and on () count({QUEUES('huey_consumer_info')})"
    return [
        tile(
            "Alerts",
            At(0, 0, 3, 4),
            "Alerts of huey's rules that fire. “No rules” means that Prometheus does "
            "not evaluate them, so no alert can fire.",
            f"count({alerts}) or 0 * {rules}",
            steps=thresholds(GOOD, (1, BAD)),
            unknown=("no rules", UNKNOWN),
            background=True,
        ),
        tile(
            "Consumers",
            At(3, 0, 3, 4),
            "Consumers that answer Prometheus, and those that do not; on the "
            "exporter's page, those that renew their metrics and those that stopped. "
            "Of all queues of the job.",
            {
                "up": presence.up(TARGETS, QUEUES),
                "down": presence.down(TARGETS, QUEUES),
            },
            unknown=("unknown", UNKNOWN),
            overrides=[
                _number("up", thresholds(BAD, (1, GOOD))),
                _number("down", thresholds(NEUTRAL, (1, BAD))),
            ],
        ),
        tile(
            "Success",
            At(6, 0, 3, 4),
            "Of the tasks that ran to their end in the time shown, those that "
            "succeeded; a retry that helps is a success.",
            share(counted(QUEUES, FINISHED, SUCCESS), counted(QUEUES, FINISHED, RAN)),
            unit=SHARE,
            steps=thresholds(BAD, (0.9, DOUBTFUL), (0.99, GOOD)),
            decimals=1,
        ),
        tile(
            "Failed",
            At(9, 0, 3, 4),
            "Tasks that finally failed, timed out or were lost with a worker, in the "
            "time shown. Which: see “Failing tasks”.",
            f"round({total(counted(QUEUES, FINISHED, FAILED))})",
            steps=thresholds(GOOD, (1, UNKNOWN)),
        ),
        tile(
            "Workers busy",
            At(12, 0, 3, 4),
            "Of the workers' time of the last five minutes, what tasks took. Near "
            "100 %, tasks wait: add workers, or find what became slow.",
            f"{total(busy_workers(QUEUES, '5m'))} / {total(WORKERS)}",
            unit=SHARE,
            steps=thresholds(GOOD, (0.8, DOUBTFUL), (0.95, BAD)),
            decimals=0,
        ),
        tile(
            "Pending",
            At(15, 0, 3, 4),
            "Tasks that wait on the queues now. Unknown, if no consumer can tell, as "
            "when the storage is away.",
            total(PENDING),
            steps=thresholds(GOOD, (100, DOUBTFUL), (1000, BAD)),
            unknown=("unknown", UNKNOWN),
        ),
        tile(
            "Oldest waits",
            At(18, 0, 3, 4),
            "For how long the oldest task of all queues has been waiting.",
            f"max({oldest} or {PENDING} == 0)",
            unit=SECONDS,
            steps=thresholds(GOOD, (60, DOUBTFUL), (900, BAD)),
            unknown=("unknown", UNKNOWN),
        ),
        tile(
            "Wait p95",
            At(21, 0, 3, 4),
            "Of the attempts of the last five minutes, 95 % waited for no longer than "
            "this from when they were due.",
            f"{wait} {alive}",
            unit=SECONDS,
            steps=thresholds(GOOD, (10, DOUBTFUL), (60, BAD)),
        ),
    ]


def _number(name: str, steps: Json) -> Json:
    return named(name, {"id": "thresholds", "value": steps})
