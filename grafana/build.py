"""Writes grafana/dashboards/huey.json; a test fails if the file is out of date.

Each consumer counts its own tasks, so counters and histograms are summed. All
consumers of a queue report the same queue length: max, never sum.
"""

import json
from pathlib import Path

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import (
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PATH = Path(__file__).with_name("dashboards") / "huey.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

TASK = "{{queue}} {{task}}"
RATE = "$__rate_interval"
QUEUE = 'queue=~"$queue"'
# What a process lost for all its queues has no queue.
QUEUE_OR_NONE = 'queue=~"$queue|"'
FAILED = 'outcome=~"failure|timeout|lost"'
# Revoked, expired, canceled and refused tasks neither succeeded nor failed.
RAN = 'outcome=~"success|failure|timeout|lost"'


def finished(outcomes: str) -> str:
    """The increase of tasks with these *outcomes* in the time range shown."""
    return f"increase(huey_tasks_finished_total{{{QUEUE}, {outcomes}}}[$__range])"


def p95(histogram: str) -> str:
    """The 95th percentile in seconds, by queue and task."""
    buckets = f"rate({histogram}_bucket{{{QUEUE}}}[{RATE}])"
    return f"histogram_quantile(0.95, sum by (queue, task, le) ({buckets}))"


def happening(counter: str, labels: str = "queue, task") -> str:
    """The rate of *counter*, for series that increase at all in the time range shown.

    Their zeros are kept: otherwise the legend would keep the last rate above 0.
    """
    rate, whole = f"rate({counter}[{RATE}])", f"increase({counter}[$__range] @ end())"
    return f"sum by ({labels}) ({rate}) and sum by ({labels}) ({whole}) > 0"


def query(expr: str, legend: str = "") -> prometheus.Dataquery:
    """Query *expr* over the time range shown."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).range()


def now(expr: str) -> prometheus.Dataquery:
    """Query *expr* at the end of the time range shown."""
    return prometheus.Dataquery().expr(expr).instant()


def figure(title: str, expr: str, unit: str, description: str) -> stat.Panel:
    """Show one number; counts without decimals, though increase() extrapolates."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(now(expr).ref_id("A"))
        .unit(unit)
        .graph_mode(common.BigValueGraphMode.NONE)
        .height(4)
        .span(6)
    )
    return panel.decimals(0) if unit == units.Short else panel


def lines(
    title: str, unit: str, *queries: prometheus.Dataquery, description: str = ""
) -> timeseries.Panel:
    """Show a line for each series, with a table as its legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .legend(
            options.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT)
            .calcs(["lastNotNull", "max"])
            .show_legend(show_legend=True)
        )
        .height(8)
        .span(12)
    )
    for letter, each in zip("ABC", queries, strict=False):
        panel.with_target(each.ref_id(letter))
    return panel


def failing() -> table.Panel:
    """Show the tasks that fail most."""
    by_task = f"sum by (queue, task, outcome) ({finished(FAILED)})"
    return (
        table.Panel()
        .title("Failing tasks")
        .description("Tasks that finally failed, timed out or were lost with a worker.")
        .datasource(SOURCE)
        .with_target(
            now(f"topk(10, {by_task} > 0)").format(PromQueryFormat.TABLE).ref_id("A")
        )
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "renameByName": {"Value": "tasks"},
                },
            )
        )
        .unit(units.Short)
        .decimals(0)
        .height(8)
        .span(12)
    )


def periodic() -> table.Panel:
    """Show when each periodic task is due next; Grafana expects milliseconds."""
    metric = f"huey_periodic_task_next_run_timestamp_seconds{{{QUEUE}}}"
    due = now(f"1000 * max by (queue, task) ({metric})")
    return (
        table.Panel()
        .title("Periodic tasks")
        .description("When each is due next.")
        .datasource(SOURCE)
        .with_target(due.format(PromQueryFormat.TABLE).ref_id("A"))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "renameByName": {"Value": "due"},
                },
            )
        )
        .unit("dateTimeFromNow")
        .height(8)
        .span(12)
    )


def build() -> dashboard.Dashboard:
    """Build the dashboard."""
    # A rate, because a gauge is a sample, which may beat with the load.
    busy = f"rate(huey_worker_busy_seconds_total{{{QUEUE}}}[{RATE}])"
    workers = f"huey_workers{{{QUEUE}}}"
    pending = f"max by (queue) (huey_queue_length{{{QUEUE}}})"
    scheduled = f"max by (queue) (huey_schedule_length{{{QUEUE}}})"
    oldest = f"max by (queue) (huey_queue_oldest_age_seconds{{{QUEUE}}})"
    overdue = f"max by (queue) (huey_schedule_overdue_age_seconds{{{QUEUE}}})"
    retries = f"huey_task_retries_total{{{QUEUE}}}"
    lost = f"huey_telemetry_dropped_total{{{QUEUE_OR_NONE}}}"
    locked = f'huey_task_attempts_finished_total{{{QUEUE}, outcome="locked"}}'
    success = 'outcome="success"'
    return (
        dashboard.Dashboard("huey")
        .uid("huey")
        .tags(["huey"])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-30m", "now")
        .refresh("10s")
        .readonly()
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Prometheus")
            .type("prometheus")
        )
        .with_variable(
            dashboard.QueryVariable("queue")
            .label("Queue")
            .datasource(SOURCE)
            .query("label_values(huey_consumer_info, queue)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(multi=True)
            .include_all(include_all=True)
            .all_value(".*")
            .current(VariableOption(text="All", value="$__all"))
        )
        .with_panel(
            figure(
                "Success",
                # No value, instead of NaN, if no task ran.
                f"sum({finished(success)}) / (sum({finished(RAN)}) > 0)",
                units.PercentUnit,
                "Of the tasks that ran to their end; a retry that helps is a success.",
            )
        )
        .with_panel(
            figure(
                "Failed",
                # Consumers export failures from 0 on: no value means no consumer.
                f"sum({finished(FAILED)})",
                units.Short,
                "Tasks that finally failed, timed out or were lost.",
            )
        )
        .with_panel(
            figure("Pending", f"sum({pending})", units.Short, "Messages that wait.")
        )
        .with_panel(
            figure(
                "Saturation",
                f"sum({busy}) / sum({workers})",
                units.PercentUnit,
                "Of the workers' time, what tasks took.",
            )
        )
        .with_panel(
            lines(
                "Throughput by outcome",
                units.OpsPerSecond,
                query(
                    "sum by (outcome) "
                    f"(rate(huey_tasks_finished_total{{{QUEUE}}}[{RATE}]))",
                    "{{outcome}}",
                ),
                description="Tasks at their final end, one per task.",
            )
        )
        .with_panel(failing())
        .with_panel(
            lines(
                "Wait p95",
                units.Seconds,
                query(p95("huey_task_wait_seconds"), TASK).exemplar(exemplar=True),
                description="From when a task was due until its attempt started.",
            )
        )
        .with_panel(
            lines(
                "Run p95",
                units.Seconds,
                query(p95("huey_task_duration_seconds"), TASK).exemplar(exemplar=True),
                description="Attempts that ended in success, an error or a timeout. "
                "A point is an attempt, and leads to its trace.",
            )
        )
        .with_panel(
            lines(
                "In progress",
                units.Short,
                # With its zeros: else the legend would keep the last number above 0.
                query(
                    f"sum by (queue, task) (huey_tasks_in_progress{{{QUEUE}}})", TASK
                ),
            )
        )
        .with_panel(
            lines(
                "Busy workers",
                units.PercentUnit,
                query(
                    f"sum by (queue) ({busy}) / sum by (queue) ({workers})", "{{queue}}"
                ),
                description="Of the workers' time, what tasks took.",
            ).max(1)
        )
        .with_panel(
            lines(
                "Pending and scheduled",
                units.Short,
                query(pending, "{{queue}} pending"),
                query(scheduled, "{{queue}} scheduled"),
                description="Retries with a delay are on the schedule, too.",
            )
        )
        .with_panel(
            lines(
                "Waiting longest",
                units.Seconds,
                query(oldest, "{{queue}} on the queue"),
                query(overdue, "{{queue}} overdue on the schedule"),
                description="The oldest message of a queue, whatever its length; "
                "what is overdue on the schedule, no scheduler has moved.",
            )
        )
        .with_panel(
            lines(
                "Running longest",
                units.Seconds,
                query(
                    f"max by (queue, task) (huey_task_running_age_seconds{{{QUEUE}}})",
                    TASK,
                ),
                description="A task that hangs grows for ever.",
            )
        )
        .with_panel(periodic())
        .with_panel(
            lines(
                "Retries and locks",
                units.OpsPerSecond,
                query(happening(retries), f"{TASK} retried"),
                query(happening(locked), f"{TASK} locked out"),
            )
        )
        .with_panel(
            lines(
                "Lost telemetry",
                units.OpsPerSecond,
                query(happening(lost, "signal, reason"), "{{signal}} {{reason}}"),
                description="Events, spans and metrics that huey-otel could not "
                "deliver, and why.",
            )
        )
    )


def text() -> str:
    """Give the content of the file."""
    built = build().build()
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
