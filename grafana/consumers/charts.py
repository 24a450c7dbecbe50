"""The charts: who was there, who was busy, what went wrong."""

from typing import Final

from grafana.consumers.scope import (
    BUSY,
    CHOSEN_TARGETS,
    INFO,
    THESE,
    UP,
    WORKERS,
    dropped,
    schedulers_died,
)
from grafana.vocabulary.meaning import (
    BAD,
    BYTES,
    DOUBTFUL,
    EVENTS,
    GOOD,
    PER_SECOND,
    REST,
    SECONDS,
    coloured,
    thresholds,
    words,
)
from grafana.vocabulary.panels import At, Panel, dashed, lines, query, states
from grafana.vocabulary.promql import (
    CONSUMER,
    RANGE,
    RATE,
    SCHEDULES,
    STEP,
    busy_workers,
    counted,
    increase,
    most,
    others,
    over_the_range,
    percentile,
    rate,
    top,
    total,
    who,
)

ON_A_PAGE: Final = 'consumer!=""'


def work(y: int) -> list[Panel]:
    """Show who was there and who was busy."""
    least = f"min_over_time({UP}[{RANGE}] @ end())"
    changed = f"(2 * (1 - {least}) + changes({UP}[{RANGE}] @ end()))"
    ages = THESE("huey_exporter_page_age_seconds")
    live = f"max by (name) ({who(THESE('huey_consumer_info', ON_A_PAGE))})"
    there = f"max by (name) ({who(ages)}) * 0"
    oldest = f"max by (name) ({who(f'max_over_time({ages}[{RANGE}] @ end())')})"
    busy = total(who(busy_workers(THESE, "1m")), "name")
    ranking = total(who(over_the_range(increase(BUSY))), "name")
    return [
        states(
            "Up and down",
            At(0, y, 8, 8),
            "Of ten targets, first those that were down or changed. On the exporter's "
            "page, whether each consumer renews its metrics; one that was stopped is "
            "down.",
            query(
                most(who(f"({UP} and on (job, instance) topk(10, {changed}))"), "name"),
                "{{name}}",
            ),
            query(f"({live} or {there}) and on (name) topk(10, {oldest})", "{{name}}"),
            mapping=words({0: ("down", BAD), 1: ("up", GOOD)}),
            none="no target of the chosen jobs",
        ),
        lines(
            "Busy workers",
            At(8, y, 8, 8),
            "Workers that run a task, of the six consumers that ran most. Dashed: all "
            "workers; areas that reach the line mean that tasks wait.",
            query(top(6, busy, ranking, "name"), "{{name}}"),
            query(others(6, busy, ranking, "name"), "others"),
            query(total(WORKERS), "workers"),
            unit="short",
            none="no workers",
            stacked=True,
            overrides=[*coloured({"others": REST}), dashed("workers", "text")],
        ),
        lines(
            "Schedule delay p95",
            At(16, y, 8, 8),
            "How late the schedulers moved due tasks to the queue. Up to their "
            "interval, a second by default, is as it should be.",
            query(
                percentile(
                    0.95,
                    THESE("huey_task_schedule_delay_seconds_bucket"),
                    "queue",
                    window="5m",
                ),
                "{{queue}}",
            ),
            unit=SECONDS,
            none="nothing was scheduled",
        ),
    ]


def trouble(y: int) -> list[Panel]:
    """Show when workers died, consumers erred and telemetry was lost."""
    restarts = increase(THESE("huey_worker_restarts_total"), RATE)
    errors = counted(THESE, "huey_consumer_errors_total", window=RATE)
    return [
        lines(
            "Worker restarts",
            At(0, y, 8, 7),
            "Workers that huey replaced: died, or had run as many tasks as they may. "
            "And schedulers that died.",
            query(f"{total(restarts, 'reason')} > 0", "{{reason}}"),
            query(f"{total(increase(schedulers_died(), RATE))} > 0", "scheduler died"),
            unit="short",
            bars=True,
            stacked=True,
            overrides=coloured(
                {"died": BAD, "scheduler died": "dark-red", "max_tasks": "blue"}
            ),
        ),
        lines(
            "Consumer errors by kind",
            At(8, y, 8, 7),
            "Errors of the consumers themselves, by what they were doing. Dequeueing "
            "is a message that cannot be read, or a storage that does not answer.",
            query(f"{total(errors, 'kind')} > 0", "{{kind}}"),
            unit="short",
            shades=BAD,
            bars=True,
            stacked=True,
        ),
        lines(
            "Telemetry dropped by reason",
            At(16, y, 8, 7),
            "What huey-otel lost; docs/metrics.md says what each reason means.",
            query(
                f"{total(dropped(RATE), 'signal', 'reason')} > 0",
                "{{signal}}: {{reason}}",
            ),
            unit="short",
            shades=DOUBTFUL,
            bars=True,
            stacked=True,
        ),
    ]


def health(y: int) -> list[Panel]:
    """Show what consumers say of themselves, and what they take."""
    look = THESE("huey_scheduler_last_check_timestamp_seconds")
    schedules = f"and on ({CONSUMER}) {THESE('huey_consumer_info', SCHEDULES)}"
    main = CHOSEN_TARGETS("process_resident_memory_bytes")
    main = most(f"{main} and on (job, instance) {INFO}", "instance")
    workers = total(who(THESE("huey_workers_resident_memory_bytes")), "name")
    return [
        lines(
            "Events made",
            At(0, y, 8, 7),
            "The consumers' events by status, those included that were dropped later.",
            query(
                f"{total(rate(THESE('huey_events_total')), 'status')} > 0", "{{status}}"
            ),
            unit=PER_SECOND,
            none="no events",
            stacked=True,
            legend=("mean",),
            overrides=coloured(EVENTS),
        ),
        lines(
            "Scheduler's last look",
            At(8, y, 8, 7),
            "Since the scheduler that enqueues periodic tasks last looked; it does so "
            "each minute. Above the line it has stopped.",
            query(f"max by (queue) (time() - {look} {schedules})", "{{queue}}"),
            unit=SECONDS,
            none="no consumer schedules",
            limit=thresholds("transparent", (180, BAD)),
        ),
        lines(
            "Memory",
            At(16, y, 8, 7),
            "Resident memory of the six largest main processes, and of all worker "
            "processes of the six consumers that have the most.",
            query(_largest(main, "instance"), "{{instance}}"),
            query(_largest(workers, "name"), "{{name}} workers"),
            unit=BYTES,
            none="not told",
        ),
    ]


def _largest(memory: str, label: str) -> str:
    """Keep the six that have the most at the end of the time shown."""
    most_of_it = f"max_over_time(({memory})[{RANGE}:{STEP}] @ end())"
    return f"{memory} and on ({label}) topk(6, {most_of_it})"
