"""The tiles: how many are there, and what should not be."""

from grafana.consumers.scope import (
    CHOSEN_PAGES,
    CHOSEN_TARGETS,
    INFO,
    STORAGE_AWAY,
    THESE,
    died,
    dropped,
    schedulers_died,
)
from grafana.vocabulary import presence
from grafana.vocabulary.meaning import BAD, DOUBTFUL, GOOD, UNKNOWN, thresholds
from grafana.vocabulary.panels import At, Panel, tile
from grafana.vocabulary.promql import (
    CONSUMER,
    SCHEDULES,
    counted,
    increase,
    most,
    total,
)


def tiles() -> list[Panel]:
    """Count what should not be."""
    fresh = f"time() - {THESE('huey_scheduler_last_check_timestamp_seconds')} < 130"
    scheduling = (
        f"count by (queue) ({THESE('huey_consumer_info', SCHEDULES)} "
        f"and on ({CONSUMER}) {fresh})"
    )
    # Without one, any number of schedulers has nothing to enqueue.
    enqueued = THESE("huey_tasks_enqueued_total", 'origin="periodic"')
    interval = most(THESE("huey_periodic_task_interval_seconds"), "queue")
    has_periodic = f"({interval} or {enqueued} > 0)"
    several = f"{scheduling} > 1 and on (queue) {has_periodic}"
    none = f"count by (queue) ({INFO}) unless on (queue) {scheduling}"
    return [
        tile(
            "Up",
            At(0, 0, 3, 3),
            "Consumers that answer Prometheus, or that renew their metrics on the "
            "exporter's page.",
            presence.up(CHOSEN_TARGETS, CHOSEN_PAGES),
            steps=thresholds(BAD, (1, GOOD)),
            unknown=("unknown", UNKNOWN),
        ),
        tile(
            "Down",
            At(3, 0, 2, 3),
            "Consumers, or exporters, that do not answer, and consumers that have "
            "stopped renewing their metrics without saying goodbye.",
            presence.down(CHOSEN_TARGETS, CHOSEN_PAGES),
            steps=thresholds(GOOD, (1, BAD)),
            unknown=("?", UNKNOWN),
        ),
        tile(
            "Stuck",
            At(5, 0, 2, 3),
            "Consumers that live and do nothing: a worker or the scheduler has hung "
            "for stuck_after (ten minutes).",
            _while_known(
                "count(max by (instance, consumer, queue) "
                f"({THESE('huey_consumer_stuck')}) > 0)"
            ),
            steps=thresholds(GOOD, (1, BAD)),
        ),
        tile(
            "Storage away",
            At(7, 0, 3, 3),
            "Queues whose storage has not answered a consumer, or the exporter, at the "
            "last scrape.",
            f"(count(count by (queue) ({STORAGE_AWAY})) or vector(0)) "
            f"and on () count({CHOSEN_PAGES('huey_storage_up')})",
            steps=thresholds(GOOD, (1, BAD)),
        ),
        tile(
            "Queues without one scheduler",
            At(10, 0, 5, 3),
            "Queues of which no consumer, or more than one, enqueues the periodic "
            "tasks: with none they do not run, with two they run twice. A queue that "
            "has none may have several schedulers.",
            _while_known(f"count({several} or {none})"),
            steps=thresholds(GOOD, (1, BAD)),
        ),
        tile(
            "Workers died",
            At(15, 0, 3, 3),
            "Workers and schedulers that ended by themselves in the time shown, and "
            "were replaced: killed, or out of memory.",
            f"round({total(increase(died()))} + {total(increase(schedulers_died()))})",
            steps=thresholds(GOOD, (1, BAD)),
        ),
        tile(
            "Consumer errors",
            At(18, 0, 3, 3),
            "Errors of the consumers themselves, not of tasks, in the time shown.",
            f"round({total(counted(THESE, 'huey_consumer_errors_total'))})",
            steps=thresholds(GOOD, (1, BAD)),
        ),
        tile(
            "Telemetry dropped",
            At(21, 0, 3, 3),
            "Events, spans and answers that huey-otel has lost in the time shown; the "
            "tasks ran, and their counts are exact.",
            _while_known(f"round({total(dropped())})"),
            steps=thresholds(GOOD, (1, DOUBTFUL)),
        ),
    ]


def _while_known(number: str) -> str:
    """Give *number*, or 0, as long as a consumer could tell; else not known."""
    return f"({number} or vector(0)) and on () count({INFO})"
