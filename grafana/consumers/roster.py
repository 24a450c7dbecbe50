"""The table of all consumers, those in trouble first."""

from typing import Final

from grafana.consumers.scope import (
    CHOSEN_PAGES,
    CHOSEN_TARGETS,
    INFO,
    SEEN,
    STORAGE_AWAY,
    THESE,
    UP,
    WORKERS,
    died,
)
from grafana.vocabulary.meaning import (
    BAD,
    BYTES,
    COUNT,
    DOUBTFUL,
    GOOD,
    NEUTRAL,
    PER_SECOND,
    SECONDS,
    SHARE,
    SINCE,
    UNKNOWN,
    thresholds,
    words,
)
from grafana.vocabulary.panels import At, Json, Panel
from grafana.vocabulary.promql import (
    CONSUMER,
    SCHEDULES,
    busy_workers,
    increase,
    most,
    rate,
    total,
    who,
)
from grafana.vocabulary.table import Column, label, number, table

# The worse, the higher: the table is sorted by them.
STOPPED, ANSWERS, NOT_KNOWN, STORAGE, STUCK, NO_ANSWER = range(6)
_STATES: Final = words(
    {
        STOPPED: ("stopped", NEUTRAL),
        ANSWERS: ("answers", GOOD),
        NOT_KNOWN: ("not known", UNKNOWN),
        STORAGE: ("storage away", BAD),
        STUCK: ("stuck", BAD),
        NO_ANSWER: ("no answer", BAD),
    }
)
_STALE: Final = 'state="stale"'
_YES_OR_NO: Final[Json] = {
    "type": "value",
    "options": {
        "true": {"text": "yes", "index": 0},
        "false": {"text": "no", "index": 1},
    },
}


def roster(at: At) -> Panel:
    """Show each consumer, those that are in trouble first."""
    said = ("version", "huey_version", "python_version", "service_version")
    last = f"({INFO} or {SEEN} unless on ({CONSUMER}) {INFO})"
    info = most(who(last), "name", "queue", "host", "worker_type", "periodic", *said)
    busy = (
        f"{total(who(busy_workers(THESE, '5m')), 'name', 'queue')} "
        f"/ on (name, queue) {total(who(WORKERS), 'name', 'queue')}"
    )
    look = THESE("huey_scheduler_last_check_timestamp_seconds")
    schedules = f"and on ({CONSUMER}) {THESE('huey_consumer_info', SCHEDULES)}"
    memory = THESE("huey_workers_resident_memory_bytes")
    start = most(who(THESE("huey_consumer_start_time_seconds")), "name", "queue")
    return table(
        "Consumers",
        at,
        "All consumers of the time shown, those in trouble first. Stopped: Prometheus "
        "or the exporter no longer asks for it, as after a deploy. Memory is of its "
        "worker processes together.",
        label("name", "Consumer", 190),
        label("queue", "Queue", 100),
        number("State", _state(), "none", 105, mappings=[_STATES], coloured=True),
        number(
            "Up since",
            f"1000 * {start}",
            SINCE,
            130,
        ),
        label("host", "Host", 130),
        label("worker_type", "Workers are", 100),
        label("periodic", "Schedules", 90, mappings=[_YES_OR_NO]),
        number(
            "Last look",
            most(who(f"(time() - {look} {schedules})"), "name", "queue"),
            SECONDS,
            95,
            coloured=True,
            steps=thresholds(NEUTRAL, (90, DOUBTFUL), (180, BAD)),
            decimals=0,
        ),
        number("Workers", total(who(WORKERS), "name", "queue"), COUNT, 80, decimals=0),
        number(
            "Busy",
            busy,
            SHARE,
            140,
            gauge=True,
            largest=1,
            decimals=0,
            steps=thresholds(GOOD, (0.8, DOUBTFUL), (0.95, BAD)),
        ),
        number(
            "Attempts",
            total(who(rate(THESE("huey_task_attempts_total"), "5m")), "name", "queue"),
            PER_SECOND,
            95,
            decimals=1,
        ),
        _bad_number("Died", increase(died())),
        _bad_number("Errors", increase(THESE("huey_consumer_errors_total"))),
        number("Memory", total(who(memory), "name", "queue"), BYTES, 95),
        # Shown last: what was deployed, and what it runs on.
        label("service_version", "Version", 100),
        label("version", "huey-otel", 85),
        label("huey_version", "huey", 65),
        label("python_version", "Python"),
        rows=info,
        sort="State",
        none="no consumer was seen in the time shown",
    )


def _state() -> str:
    """Say of each consumer what is the worst of it, by its name and queue."""
    missing = f"{SEEN} unless on ({CONSUMER}) {INFO}"
    stale = f"{CHOSEN_PAGES('huey_exporter_pages', _STALE)} > 0"
    unread = f"{CHOSEN_TARGETS('huey_exporter_up')} == 0"
    # Prometheus knows where it should be, and not what its queue is.
    never = f"{UP} == 0 unless on (job, instance) {SEEN}"
    never = f'label_replace({never}, "queue", "?", "", "")'
    gone = f"{SEEN} and on (job, instance) {UP} == 0"
    # A page is there for ten minutes, also of a consumer that ended as it was asked to.
    page = THESE("huey_exporter_page_age_seconds")
    killed = f"{missing} and on ({CONSUMER}) {page} and on (instance, queue) {stale}"
    gone = f"{gone} or {never} or {killed}"
    found = {
        NO_ANSWER: gone,
        STUCK: f"{THESE('huey_consumer_stuck')} > 0",
        STORAGE: f"{INFO} and on (instance, queue) {STORAGE_AWAY}",
        NOT_KNOWN: f"{missing} and on (job, instance) {unread}",
        ANSWERS: INFO,
        STOPPED: SEEN,
    }
    return " or ".join(
        f"{most(who(f'({those})'), 'name', 'queue')} * 0 + {state}"
        for state, those in found.items()
    )


def _bad_number(title: str, counted: str) -> Column:
    return number(
        title,
        f"round({total(who(counted), 'name', 'queue')})",
        COUNT,
        70,
        decimals=0,
        coloured=True,
        steps=thresholds(NEUTRAL, (1, BAD)),
    )
