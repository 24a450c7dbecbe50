"""The tables: which alerts fire, which tasks fail, which did not run."""

from grafana.overview.terms import THE_TASK
from grafana.vocabulary.meaning import (
    BAD,
    COUNT,
    DOUBTFUL,
    GOOD,
    NEUTRAL,
    SECONDS,
    SHARE,
    SINCE,
    thresholds,
    words,
)
from grafana.vocabulary.panels import At, Panel
from grafana.vocabulary.promql import (
    CONSUMER,
    FAILED,
    QUEUES,
    RAN,
    SCHEDULES,
    TASK,
    WHERE_KNOWN,
    counted,
    increase,
    most,
    share,
    short,
    total,
)
from grafana.vocabulary.series import FINISHED
from grafana.vocabulary.table import hidden, label, number, table


def firing(at: At) -> Panel:
    """List the alerts of which the first tile gives the number."""
    names = 'alertname=~"Huey.*"'
    state = WHERE_KNOWN("ALERTS", names, 'alertstate="firing"')
    since = (
        f"{WHERE_KNOWN('ALERTS_FOR_STATE', names)} and ignoring (alertstate) {state}"
    )
    # All that tells one alert of a name from another, but the job. What is short comes
    # first: a narrow column cuts off the rest.
    about = ("queue", "reason", "window", "name", "slo", "origin", "signal")
    where = ("instance", "consumer", "namespace")
    parts = ", ".join(f'"{part}"' for part in (*about, *where))
    on = f'label_join({short(since)}, "on", " ", {parts})'
    severe = {"warning": (DOUBTFUL, 1), "critical": (BAD, 0)}
    return table(
        "Firing alerts",
        at,
        "Critical ones first. What to do about each is said in docs/alerts.md, under "
        "its name.",
        label("alertname", "Alert", least=150),
        label("on", "On", least=130),
        label(
            "severity",
            "Severity",
            80,
            coloured=True,
            mappings=[
                {
                    "type": "value",
                    "options": {
                        name: {"text": name, "color": colour, "index": index}
                        for name, (colour, index) in severe.items()
                    },
                }
            ],
        ),
        number("Since", f"1000 * max by (severity, alertname, on) ({on})", SINCE, 140),
        # In the order of the alphabet critical comes before warning.
        groups="Severity",
        sort="Since",
        none="none fires, if there are rules",
    )


def failing(at: At) -> Panel:
    """Name the tasks that fail most."""
    failed = total(counted(QUEUES, FINISHED, FAILED), "queue", "task")
    worst = f"topk(10, round({failed}) > 0)"
    last = most(QUEUES("huey_task_last_failure_timestamp_seconds"), "queue", "task")
    retries = total(increase(QUEUES("huey_task_retries_total")), "queue", "task")
    of_runs = share(
        counted(QUEUES, FINISHED, FAILED),
        counted(QUEUES, FINISHED, RAN),
        "queue",
        "task",
    )
    among = f"and on ({TASK}) {worst}"
    return table(
        "Failing tasks",
        at,
        "The ten tasks that finally failed, timed out or were lost most often in the "
        "time shown. _unknown: messages that no consumer could read, or whose task it "
        "does not know.",
        THE_TASK,
        label("queue", "Queue", 90),
        number("Failed", short(worst), COUNT, 75, decimals=0),
        number(
            "Of runs",
            short(f"{of_runs} {among}"),
            SHARE,
            115,
            gauge=True,
            largest=1,
            decimals=1,
            steps=thresholds(BAD),
        ),
        number("Retries", short(f"round({retries}) {among}"), COUNT, 75, decimals=0),
        number("Last failure", short(f"1000 * {last} {among}"), SINCE, 140),
        hidden("task"),
        sort="Failed",
        none="no task has failed",
    )


def periodic(at: At) -> Panel:
    """Say of each periodic task whether it runs when it should."""
    interval = most(QUEUES("huey_periodic_task_interval_seconds"), "queue", "task")
    known = f"and on ({TASK}) {interval}"
    here = QUEUES("huey_task_last_started_timestamp_seconds")
    recorded = WHERE_KNOWN(
        "queue_task:huey_periodic_task_last_started_timestamp_seconds:max"
    )
    last = f"(max by ({TASK}) ({here} or {recorded}) {known})"
    success = most(QUEUES("huey_task_last_success_timestamp_seconds"), "queue", "task")
    failure = most(QUEUES("huey_task_last_failure_timestamp_seconds"), "queue", "task")
    ended = (
        f"({success} > bool on ({TASK}) {failure} or {success} * 0 + 1 "
        f"or {failure} * 0) {known}"
    )
    # Who does not schedule may know another time: during a deploy, or by its settings.
    due = (
        f"{QUEUES('huey_periodic_task_next_run_timestamp_seconds')} "
        f"and on ({CONSUMER}) {QUEUES('huey_consumer_info', SCHEDULES)}"
    )
    state = words({0: ("on time", GOOD), 1: ("not run yet", NEUTRAL), 2: ("late", BAD)})
    outcome = words({0: ("failure", BAD), 1: ("success", GOOD)})
    return table(
        "Periodic tasks",
        at,
        "Late: it has not started for over its interval and two minutes. The next run "
        "is as the consumers say that schedule; a dash means that none does. Runs "
        "before a consumer's start are known by the recording rule only.",
        THE_TASK,
        label("queue", "Queue", 90),
        number(
            "State",
            short(
                f"2 * (time() - {last} > bool on ({TASK}) {interval} + 120) "
                f"or on ({TASK}) {interval} * 0 + 1"
            ),
            "none",
            95,
            mappings=[state],
            coloured=True,
        ),
        number("Last run", short(f"1000 * {last}"), SINCE, 140),
        number("Ended in", short(ended), "none", 90, mappings=[outcome], coloured=True),
        number("Next run", short(f"1000 * {most(due, 'queue', 'task')}"), SINCE, 140),
        number("Every", short(interval), SECONDS, 75),
        hidden("task"),
        sort="State",
        none="none known: a consumer tells of them while it runs",
    )
