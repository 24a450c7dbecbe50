"""The alerts about consumers: their processes, schedulers, storage and telemetry."""

from typing import Any

from runtime.prometheus.rules import recorded as r
from runtime.prometheus.rules.alert import (
    CONSUMERS,
    OF_CONSUMER,
    OF_QUEUE,
    OF_TARGET,
    OVERVIEW,
    QUEUE,
    WHO,
    Alert,
)
from runtime.prometheus.rules.terms import Terms


def _down(t: Terms, _: Any) -> str:
    stale = t.m("huey_exporter_pages", 'state="stale"')
    missing = "".join(f"\n        or\n        absent({up})" for up in t.expected())
    return f"""
        max by ({t.target}) (
          {t.up()} == 0
          or
          up == 0 and on ({t.target}) {t.m(r.CONSUMERS)}
        )
        unless on ({t.target}) {t.m(r.EXPORTERS)}
        or
        sum by ({t.q}) ({stale}) > 0{missing}"""


def _exporter_down(t: Terms, _: Any) -> str:
    return f"""
        max by ({t.target}) (
          {t.m("huey_exporter_up")} == 0
          or
          up == 0 and on ({t.target}) {t.m(r.EXPORTERS)}
        )"""


def _restarts(t: Terms, limit: Any) -> str:
    start = t.m("huey_consumer_start_time_seconds")
    return f"""
        max by ({t.i}) (
          changes({start}[15m]) > {limit.restarts}
          unless resets({start}[15m]) > 0
        )"""


def _stuck(t: Terms, _: Any) -> str:
    labels = t.by("instance", "consumer", "queue", "reason")
    return f"max by ({labels}) ({t.m('huey_consumer_stuck')}) > 0"


def _storage(t: Terms, _: Any) -> str:
    return f"count by ({t.q}) ({t.m('huey_storage_up')} == 0) > 0"


def _telemetry(t: Terms, _: Any) -> str:
    labels = t.by("queue", "signal", "reason")
    dropped = t.m("huey_telemetry_dropped_total")
    return f"sum by ({labels}) (increase({dropped}[10m])) > 0"


def _no_scheduler(t: Terms, limit: Any) -> str:
    periodic = t.m("huey_consumer_info", 'periodic="true"')
    return f"""
        count by ({t.q}) ({t.m("huey_consumer_info")})
        unless on ({t.q}) {periodic}
        or
        time() - max by ({t.q}) (
          {t.m("huey_scheduler_last_check_timestamp_seconds")}
          or on ({t.i}) {t.m("huey_consumer_start_time_seconds")}
          and on ({t.i}) {periodic}
        )
        > {limit.seconds}"""


def _several(t: Terms, _: Any) -> str:
    return f"""
        count by ({t.q}) (
          {t.m("huey_consumer_info", 'periodic="true"')}
          and on ({t.i})
          time() - {t.m("huey_scheduler_last_check_timestamp_seconds")} < 130
        )
        > 1
        and on ({t.q}) (
          {t.m("huey_periodic_task_interval_seconds")}
          or
          {t.m("huey_tasks_enqueued_total", 'origin="periodic"')} > 0
        )"""


def _scheduler_died(t: Terms, _: Any) -> str:
    restarts = t.m("huey_scheduler_restarts_total")
    return f"max by ({t.i}) (increase({restarts}[15m])) > 0"


def _workers_die(t: Terms, limit: Any) -> str:
    died = t.m("huey_worker_restarts_total", 'reason="died"')
    return f"""
        max by ({t.i}) (increase({died}[15m])) > {limit.workers}"""


CONSUMER_ALERTS = (
    Alert(
        name="HueyConsumerDown",
        why="""A target that should be a consumer, or that was one. Behind an
        exporter a consumer has no target: one that was killed leaves a page that is
        no longer renewed, for ten minutes.""",
        expr=_down,
        summary=(
            "{{ with $labels.instance }}no answer from the consumer {{ . }}"
            "{{ else }}{{ with $labels.queue }}{{ $value }} consumers of {{ . }}"
            " have ended without a word{{ else }}Prometheus knows of no consumer"
            "{{ with $labels.job }}: {{ . }} has no target{{ end }}{{ end }}{{ end }}"
        ),
        description="""For <for> consumers have not answered Prometheus, or have not
        renewed their pages for the exporter. While they are down their tasks wait;
        what they were running when they were killed is gone.""",
        dashboard=CONSUMERS,
        about=OF_TARGET,
    ),
    Alert(
        name="HueyExporterDown",
        expr=_exporter_down,
        summary="huey-otel exporter {{ $labels.instance }} does not tell all",
        description="""For <for> the exporter at {{ $labels.instance }} has not
        answered Prometheus, or Redis has not answered the exporter. Nothing is
        known of the consumers behind it, so the other alerts about them are silent.""",
        dashboard=CONSUMERS,
        about=("instance",),
    ),
    Alert(
        name="HueyConsumerRestarts",
        why="""A consumer that is up again within a minute is not down for long
        enough for HueyConsumerDown. If the start time goes back, several consumers
        share an address.""",
        expr=_restarts,
        summary=(
            f"the consumer {WHO} of {QUEUE} has restarted {{{{ $value }}}} times in"
            " a quarter of an hour"
        ),
        description=f"""The consumer {WHO} of the queue {QUEUE} has started more
        than <restarts> times in 15 minutes. It probably crashes in a loop, and
        loses each time what it was running.""",
        dashboard=CONSUMERS,
        about=OF_CONSUMER,
    ),
    Alert(
        name="HueyConsumerStuck",
        why="How long is too long the consumer knows, by stuck_after.",
        expr=_stuck,
        summary=(
            f"the consumer {WHO} of {QUEUE} lives and is stuck:"
            " {{ $labels.reason }}"
        ),
        description=f"""The consumer {WHO} of the queue {QUEUE} answers, but a part
        of it ({{{{ $labels.reason }}}}) has hung for longer than its stuck_after.""",
        dashboard=CONSUMERS,
        about=OF_CONSUMER,
    ),
    Alert(
        name="HueyStorageAway",
        why="""Gauges are absent while the storage does not answer, so their alerts
        are silent.""",
        expr=_storage,
        summary=(
            f"the storage of {QUEUE} does not answer: {{{{ $value }}}} consumers or"
            " exporters say so"
        ),
        description=f"""For <for> consumers, or the exporter, have learned nothing
        of the storage of the queue {QUEUE}. No task is taken meanwhile, and the
        alerts about backlog and schedule are silent.""",
        dashboard=CONSUMERS,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueyNoScheduler",
        why="""All consumers run with --no-periodic, or the scheduler has stopped,
        or it has not checked since its start, because Redis already hung.""",
        expr=_no_scheduler,
        summary=f"no consumer enqueues the periodic tasks of {QUEUE}",
        description=f"""For <for> no consumer of the queue {QUEUE} has looked for
        due periodic tasks within <seconds> seconds. Runs that are due now are
        missed.""",
        dashboard=CONSUMERS,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueySeveralSchedulers",
        why="""Longer than a rolling restart has two schedulers. A consumer that
        lets its last tasks finish still reports periodic="true", perhaps for hours,
        but its scheduler has stopped: a running one checks each minute. Without a
        periodic task there may be any number of schedulers, as by huey's default.""",
        expr=_several,
        summary=f"{{{{ $value }}}} consumers enqueue the periodic tasks of {QUEUE}",
        description=f"""For <for> more than one consumer of the queue {QUEUE} has
        enqueued its periodic tasks, so each run happens more than once.""",
        dashboard=CONSUMERS,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueySchedulerDied",
        expr=_scheduler_died,
        summary=f"the scheduler of {WHO} on {QUEUE} died, and huey has replaced it",
        description=f"""In the last 15 minutes the scheduler of the consumer {WHO}
        of the queue {QUEUE} died. What it had taken from the schedule is lost.""",
        dashboard=CONSUMERS,
        about=OF_CONSUMER,
    ),
    Alert(
        name="HueyWorkersDie",
        why="""HueyTasksLost tells of a worker that dies with a task. One that dies
        before it takes any, and so does its successor, loses nothing, and its
        consumer does nothing.""",
        expr=_workers_die,
        summary=(
            f"workers of {WHO} on {QUEUE} die again and again:"
            " {{ printf `%.0f` $value }} in a quarter of an hour"
        ),
        description=f"""In the last 15 minutes more than <workers> workers of the
        consumer {WHO} of the queue {QUEUE} died, and huey has replaced them.""",
        dashboard=CONSUMERS,
        about=OF_CONSUMER,
    ),
    Alert(
        name="HueyTelemetryLost",
        why="The queue is empty where the loss is the process'.",
        expr=_telemetry,
        summary=(
            "huey-otel has lost {{ $labels.signal }}s"
            "{{ with $labels.queue }} of {{ . }}{{ end }}: {{ $labels.reason }}"
        ),
        description="""In the last ten minutes huey-otel could not deliver {{
        $labels.signal }}s. Tasks ran as ever, and their counts are exact.""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
    ),
)
