"""The recording rules, which alerts, dashboards and readers of `sum(rate())` build on.

Their names say the level at which they aggregate; all have the labels of the grouping.
"""

from runtime.prometheus.rules.rule import Rule
from runtime.prometheus.rules.settings import Settings
from runtime.prometheus.rules.terms import FAILED, RAN, Terms

LOADED = "huey:rules:info"
RANK = "instance_queue_task:huey_periodic_task_interval_seconds:rank"
INTERVAL = "queue_task:huey_periodic_task_interval_seconds:max"
NEXT_RUN = "queue_task:huey_periodic_task_next_run_timestamp_seconds:max"
DUE = "queue_task:huey_periodic_task_due_timestamp_seconds:max"
STARTED = "queue_task:huey_periodic_task_last_started_timestamp_seconds:max"
SUCCEEDED = "queue_task:huey_periodic_task_last_success_timestamp_seconds:max"
FAILED_LAST = "queue_task:huey_periodic_task_last_failure_timestamp_seconds:max"
PER_DUE = "queue_task:huey_periodic_tasks_enqueued_per_due:ratio1h"
FAILED_TASKS = "queue_task:huey_tasks_failed:increase10m"
RAN_TASKS = "queue_task:huey_tasks_ran:increase10m"
NEW_LOSSES = "instance_queue_task:huey_tasks_lost:new"
LOST_TASKS = "queue_task:huey_tasks_lost:increase10m"
FINISHED = "queue_task_outcome:huey_tasks_finished:rate5m"
ENQUEUED = "queue_task_origin:huey_tasks_enqueued:rate5m"
CONSUMERS = "instance:huey_consumer_info:max"
EXPORTERS = "instance:huey_exporter_up:seen"

_OF_QUEUE = (
    "huey_queue_length",
    "huey_schedule_length",
    "huey_queue_oldest_age_seconds",
    "huey_schedule_overdue_age_seconds",
    "huey_results",
)


def recorded(settings: Settings) -> list[Rule]:
    """All recording rules; each may use those before it."""
    terms = Terms(settings)
    return [
        Rule(
            record=LOADED,
            why="""Tells a Prometheus that evaluates these rules, and in which nothing
            else is recorded yet, from one that does not.""",
            expr="vector(1)",
        ),
        *_targets(terms),
        *_queues(terms),
        *_periodic(terms),
        *_counts(terms),
        *_rates(terms),
    ]


def _targets(t: Terms) -> list[Rule]:
    """Which targets are consumers or exporters, also while they do not answer."""
    return [
        Rule(
            record=CONSUMERS,
            why="""1 for each target that is a consumer. One that does not answer
            counts until it is no longer a target of Prometheus.""",
            expr=f"""
                max by ({t.target}) ({t.m("huey_consumer_info", 'consumer=""')})
                or
                last_over_time({t.m(CONSUMERS)}[2h])
                and on ({t.target}) up == 0""",
        ),
        Rule(
            record=EXPORTERS,
            why="Likewise for exporters, which have a `consumer` for each of theirs.",
            expr=f"""
                max by ({t.target}) ({t.m("huey_exporter_up")} >= bool 0)
                or
                last_over_time({t.m(EXPORTERS)}[2h])
                and on ({t.target}) up == 0""",
        ),
    ]


def _queues(t: Terms) -> list[Rule]:
    rules = [
        Rule(record=f"queue:{name}:max", expr=f"max by ({t.q}) ({t.m(name)})")
        for name in _OF_QUEUE
    ]
    why = "All consumers of a queue report the same length: max, never sum."
    return [
        Rule(record=rules[0].record, expr=rules[0].expr, why=why),
        *rules[1:],
    ]


def _periodic(t: Terms) -> list[Rule]:
    interval = t.m("huey_periodic_task_interval_seconds")
    start = t.m("huey_consumer_start_time_seconds")
    periodic = t.m("huey_consumer_info", 'periodic="true"')
    first = f"""and on ({t.it}) {t.m(RANK)}
                  == on ({t.qt}) group_left
                  max by ({t.qt}) ({t.m(RANK)})"""
    scheduled = f"""
                  {interval}
                  and on ({t.i}) {periodic}"""
    return [
        Rule(
            record=RANK,
            why="""Consumers disagree on when a task is due during a deploy, or if
            their settings differ. One that schedules has precedence over one that
            does not; among equals the one that started last has.""",
            expr=f"""
                0 * {interval}
                + on ({t.i}) group_left max by ({t.i}) (
                  {start}
                  + on ({t.i}) 1e11 * max by ({t.i}) ({periodic})
                  or on ({t.i}) {start}
                )
                or 0 * {interval}""",
        ),
        Rule(
            record=INTERVAL,
            expr=f"""
                max by ({t.qt}) (
                  {interval}
                  {first}
                )""",
        ),
        Rule(
            record=NEXT_RUN,
            why="""The record continues when no consumer runs, and when Prometheus
            is away for up to two hours; it ends 30 days after the last run that it
            names. Each evaluation reads two hours: a week would take a second of
            CPU for 100 tasks.""",
            expr=f"""
                max by ({t.qt}) (
                  {t.m("huey_periodic_task_next_run_timestamp_seconds")}
                  {first}
                )
                or
                last_over_time({t.m(NEXT_RUN)}[2h]) > time() - 30 * 86400""",
        ),
        Rule(
            record=DUE,
            why="""The last minute at which a periodic task was due, as predicted a
            minute before: a new crontab says nothing about the past.""",
            expr=f"""
                last_over_time({t.m(NEXT_RUN)}[2h] offset 1m) <= time()
                or
                last_over_time({t.m(DUE)}[2h]) > time() - 400 * 86400""",
        ),
        *_last_runs(t),
        Rule(
            record=PER_DUE,
            why="""1 if one consumer schedules, 2 if two do, for tasks that are due
            several times an hour. Absent if the interval is not known: schedulers
            disagree, or it has changed within the hour.""",
            expr=f"""
                sum by ({t.qt}) (
                  increase({t.m("huey_tasks_enqueued_total", 'origin="periodic"')}[1h])
                )
                * on ({t.qt}) {t.m(INTERVAL)}
                / 3600
                unless on ({t.qt})
                changes({t.m(INTERVAL)}[1h]) > 0
                unless on ({t.qt}) (
                  max by ({t.qt}) ({scheduled}
                  )
                  >
                  min by ({t.qt}) ({scheduled}
                  )
                )""",
        ),
    ]


def _last_runs(t: Terms) -> list[Rule]:
    interval = t.m("huey_periodic_task_interval_seconds")
    why = {
        STARTED: """A consumer reports runs since its own start; these records survive a
        deploy."""
    }
    return [
        Rule(
            record=record,
            why=why.get(record, ""),
            expr=f"""
                max by ({t.qt}) (
                  {t.m(f"huey_task_last_{what}_timestamp_seconds")}
                  and on ({t.qt}) {interval}
                  or
                  last_over_time({t.m(record)}[2h]) > time() - 400 * 86400
                )""",
        )
        for record, what in (
            (STARTED, "started"),
            (SUCCEEDED, "success"),
            (FAILED_LAST, "failure"),
        )
    ]


def _counts(t: Terms) -> list[Rule]:
    lost = t.m("huey_tasks_finished_total", 'outcome="lost"')
    start = t.m("huey_consumer_start_time_seconds")
    return [
        Rule(
            record=FAILED_TASKS,
            why="Tasks that finally failed; a failure that is retried does not count.",
            expr=f"""
                sum by ({t.qt}) (
                  increase({t.m("huey_tasks_finished_total", FAILED)}[10m])
                )""",
        ),
        Rule(
            record=RAN_TASKS,
            why="""Revoked, expired, canceled and refused tasks neither succeeded
            nor failed.""",
            expr=f"""
                sum by ({t.qt}) (
                  increase({t.m("huey_tasks_finished_total", RAN)}[10m])
                )""",
        ),
        Rule(
            record=NEW_LOSSES,
            why="""The first loss of a consumer may come before its first scrape,
            and the series of messages that it does not know begins with the loss:
            increase() sees neither. The whole count is new if its consumer started
            within five minutes, and the sample is newer; or if its consumer answered
            five minutes ago without that series. If it did not answer then, the loss
            may be older.""",
            expr=f"""
                {lost} > 0
                and timestamp({lost})
                > on ({t.i}) group_left
                max by ({t.i}) ({start} > time() - 300)
                or
                {lost} > 0
                unless {lost} offset 5m
                and on ({t.i}) {start} offset 5m""",
        ),
        Rule(
            record=LOST_TASKS,
            why="""What was new is seen for five minutes more: the series may end soon,
            if the consumer dies of the same cause as the worker. A subquery of the
            above in its place takes seconds of CPU for 40 consumers.""",
            expr=f"""
                sum by ({t.qt}) (
                  max_over_time({t.m(NEW_LOSSES)}[5m])
                  or increase({lost}[10m])
                )""",
        ),
    ]


def _rates(t: Terms) -> list[Rule]:
    """What a reader may sum further, whatever the shape of the fleet."""
    return [
        Rule(
            record=FINISHED,
            why="""For readers who want a plain sum: counters of all consumers
            together, a second. Who enqueues is in another job than who runs.""",
            expr=f"""
                sum by ({t.by("queue", "task", "outcome")}) (
                  rate({t.m("huey_tasks_finished_total")}[5m])
                )""",
        ),
        Rule(
            record=ENQUEUED,
            expr=f"""
                sum by ({t.by("queue", "task", "origin")}) (
                  rate({t.made("huey_tasks_enqueued_total")}[5m])
                )""",
        ),
        Rule(
            record="queue_task:huey_task_attempts:rate5m",
            expr=f"""
                sum by ({t.qt}) (
                  rate({t.m("huey_task_attempts_total")}[5m])
                )""",
        ),
        Rule(
            record="queue:huey_workers_busy:ratio5m",
            why="The share of the workers' time in which they ran tasks.",
            expr=f"""
                sum by ({t.q}) (rate({t.m("huey_worker_busy_seconds_total")}[5m]))
                / sum by ({t.q}) ({t.m("huey_workers")})""",
        ),
    ]
