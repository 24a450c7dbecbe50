"""What the collector shows of its counts."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG
from huey_otel._prometheus.periodic import Due
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import Losses
from tests.support.metrics import (
    OF_TASK,
    SOURCE,
    TASK,
    consumer,
    feed,
    live_tasks,
    page,
    random_records,
    record,
    run,
    sampled,
)
from tests.support.programs import ROOT, missing, run_program


def test_page_that_was_collected_does_not_change(collector, registry):
    run(collector)
    collected = {metric.name: metric for metric in collector.collect()}
    run(collector)
    later = page(registry, n.TASK_WAIT_SECONDS, n.TASK_ATTEMPTS_TOTAL)

    def count(name: str) -> list[float]:
        samples = collected[name].samples
        return [one.value for one in samples if one.name.endswith(("_count", "_total"))]

    assert count("huey_task_wait_seconds") == [1]
    assert count("huey_task_attempts") == [1]
    assert later[f"huey_task_wait_seconds_count{{{OF_TASK}}}"] == 2
    assert later[f"huey_task_attempts_total{{{OF_TASK}}}"] == 2


def test_running_attempts_are_in_progress_and_the_oldest_has_an_age(
    collector, registry
):
    now = time.time()
    feed(
        collector,
        record("started", key=1, timestamp=now - 50),
        record("started", key=2, timestamp=now - 5, worker="Worker-2"),
        record("started", key=1, timestamp=now - 5, pid=8),
    )
    collector.add_consumer(1, consumer())

    shown = page(registry, n.TASKS_IN_PROGRESS, n.WORKERS, n.WORKERS_BUSY)
    ages = page(registry, n.TASK_RUNNING_AGE)

    assert shown == {
        f"huey_tasks_in_progress{{{OF_TASK}}}": 3,
        'huey_workers{queue="shop",worker_type="thread"}': 4,
        'huey_workers_busy{queue="shop",worker_type="thread"}': 3,
    }
    assert ages == {
        f"huey_task_running_age_seconds{{{OF_TASK}}}": pytest.approx(50, abs=2)
    }


def test_nested_attempts_keep_one_worker_busy(collector, registry):
    feed(collector, record("started", key=1), record("started", key=2))

    assert page(registry, n.TASKS_IN_PROGRESS, n.WORKERS_BUSY) == {
        f"huey_tasks_in_progress{{{OF_TASK}}}": 2,
        'huey_workers_busy{queue="shop",worker_type="thread"}': 1,
    }


def test_removed_huey_leaves_its_counts_and_no_running_attempts(collector, registry):
    collector.add_consumer(1, consumer())
    collector.add_consumer(2, consumer())
    feed(collector, record("started"), record("started", source=2))
    collector.remove(1)

    assert page(
        registry,
        n.TASK_ATTEMPTS_TOTAL,
        n.TASKS_IN_PROGRESS,
        n.WORKERS,
        n.WORKERS_BUSY,
    ) == {
        f"huey_task_attempts_total{{{OF_TASK}}}": 2,
        f"huey_tasks_in_progress{{{OF_TASK}}}": 1,
        'huey_workers{queue="shop",worker_type="thread"}': 4,
        'huey_workers_busy{queue="shop",worker_type="thread"}': 1,
    }


def test_two_hueys_of_one_name_share_their_series(collector, registry):
    collector.add_consumer(1, consumer(TASK, started=900.0))
    collector.add_consumer(2, consumer(TASK, started=800.0))
    feed(collector, record("started"), record("started", source=2))

    assert page(
        registry,
        n.TASK_ATTEMPTS_TOTAL,
        n.WORKERS,
        n.WORKERS_BUSY,
        n.CONSUMER_START_TIME,
    ) == {
        f"huey_task_attempts_total{{{OF_TASK}}}": 2,
        'huey_workers{queue="shop",worker_type="thread"}': 8,
        'huey_workers_busy{queue="shop",worker_type="thread"}': 2,
        'huey_consumer_start_time_seconds{queue="shop"}': 800,
    }


def test_consumer_names_its_versions(collector, registry):
    collector.add_consumer(
        1, consumer(periodic=False, service_version=lambda: "3.1-rc")
    )

    (labels,) = [
        sample.labels
        for metric in collector.collect()
        for sample in metric.samples
        if sample.name == n.CONSUMER_INFO
    ]
    versions = {label for label in labels if label.endswith("version")}
    assert versions == {"version", "huey_version", "python_version", "service_version"}
    assert labels["service_version"] == "3.1-rc"
    assert all(labels[label][0].isdigit() for label in versions)
    assert {label: labels[label] for label in labels.keys() - versions} == {
        "queue": "shop",
        "host": socket.gethostname(),
        "worker_type": "thread",
        "periodic": "false",
    }


def test_memory_of_the_workers_is_that_of_all_which_live(collector, registry):
    alive, dead = forked(lambda: time.sleep(60)), forked(lambda: None)
    os.waitpid(dead, 0)
    try:
        collector.add_consumer(1, consumer(pids=lambda: [alive, dead]))
        collector.add_consumer(2, consumer(queue="mail", pids=lambda: [dead]))
        collector.add_consumer(3, consumer(queue="chat"))

        shown = page(registry, n.WORKERS_MEMORY)
        status = Path(f"/proc/{alive}/status").read_text()
    finally:
        os.kill(alive, signal.SIGKILL)
        os.waitpid(alive, 0)

    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
    assert shown == {
        'huey_workers_resident_memory_bytes{queue="shop"}': pytest.approx(
            resident, rel=0.1
        )
    }


def forked(do: Callable[[], object]) -> int:
    pid = os.fork()
    if not pid:
        do()
        os._exit(0)
    return pid


def test_losses_are_shown_by_queue_and_signal_from_0_on(
    collector, registry, losses: Losses
):
    collector.add_consumer(1, consumer())
    losses.count(n.LOSS_RELAY, 3, why="a test")
    losses.count(n.LOSS_FEED_FULL, 4, why="a test", queue="shop")

    shown = page(registry, n.TELEMETRY_DROPPED_TOTAL)

    name = n.TELEMETRY_DROPPED_TOTAL
    assert {key: value for key, value in shown.items() if value} == {
        f'{name}{{queue="",reason="relay",signal="event"}}': 3,
        f'{name}{{queue="shop",reason="feed_full",signal="event"}}': 4,
    }
    assert {key for key, value in shown.items() if not value} == {
        f'{name}{{queue="{queue}",{labels}}}'
        for queue, labels in [
            ("", 'reason="carrier",signal="span"'),
            ("", 'reason="internal",signal="event"'),
            ("", 'reason="rejected",signal="span"'),
            ("", 'reason="spans",signal="span"'),
            ("", 'reason="spans_queue_full",signal="span"'),
            ("", 'reason="spans_unencodable",signal="span"'),
            ("shop", 'reason="feed_refused",signal="event"'),
            ("shop", 'reason="feed_replica",signal="event"'),
            ("shop", 'reason="feed_shutdown",signal="event"'),
            ("shop", 'reason="feed_unconfirmed",signal="event"'),
            ("shop", 'reason="gauges",signal="metric"'),
            ("shop", 'reason="interrupted",signal="event"'),
            ("shop", 'reason="logs",signal="event"'),
            ("shop", 'reason="logs_full",signal="event"'),
            ("shop", 'reason="logs_rejected",signal="event"'),
            ("shop", 'reason="logs_shutdown",signal="event"'),
            ("shop", 'reason="page_refused",signal="metric"'),
            ("shop", 'reason="page_shutdown",signal="metric"'),
            ("shop", 'reason="stream_refused",signal="event"'),
        ]
    }


def test_registered_task_that_never_ran_has_at_most_twelve_series(collector, registry):
    collector.add_consumer(1, consumer(TASK))

    shown = {key: value for key, value in page(registry).items() if TASK in key}
    assert shown == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 0,
        f'huey_tasks_enqueued_total{{origin="periodic",{OF_TASK}}}': 0,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 0,
        f"huey_task_attempts_total{{{OF_TASK}}}": 0,
        f'huey_tasks_finished_total{{outcome="failure",{OF_TASK}}}': 0,
        f'huey_tasks_finished_total{{outcome="lost",{OF_TASK}}}': 0,
        f'huey_tasks_finished_total{{outcome="success",{OF_TASK}}}': 0,
        f'huey_tasks_finished_total{{outcome="timeout",{OF_TASK}}}': 0,
        f"huey_task_retries_total{{{OF_TASK}}}": 0,
    }
    assert len(shown) <= 12


def test_task_that_succeeded_and_failed_has_at_most_85_series(collector, registry):
    due = {TASK: Due(60.0, 2000.0)}
    collector.add_consumer(1, consumer(TASK, due=lambda: due))
    for origin in ("call", "retry", "scheduled"):
        collector(record("accepted", origin=origin), SOURCE)
    run(collector, outcome="error", final=None)
    feed(collector, record("error-task", exception="app.Oops"), record("retrying"))
    run(collector, outcome="error", final="failure")
    run(collector)
    collector(record("started", key=9, timestamp=time.time()), SOURCE)

    shown = page(registry)

    assert sum(TASK in key for key in shown) <= 85
    assert not [key for key in shown if "_created" in key]


def test_page_of_a_hundred_tasks_of_which_twenty_ran_is_as_documented(
    collector, registry
):
    live_tasks(collector, 100, 20)
    body = generate_latest(registry)

    series = len(page(registry))
    of_tasks = sum("task=" in key for key in page(registry))

    document = (ROOT / "docs" / "metrics.md").read_text()
    assert of_tasks == 80 * 9 + 20 * 81
    assert f"| 20 of 100 | {series:,} | {len(body) / 1000:,.0f} kB |" in document


def test_counters_of_a_consumer_begin_at_zero_and_times_are_absent(collector, registry):
    collector.add_consumer(1, consumer())

    shown = page(registry, *(name for name in CATALOG if name != n.CONSUMER_INFO))

    assert {key.partition("{")[0] for key, value in shown.items() if not value} == {
        n.CONSUMER_ERRORS_TOTAL,
        n.CONSUMER_STUCK,
        n.EVENTS_TOTAL,
        n.SCHEDULER_RESTARTS_TOTAL,
        n.TELEMETRY_DROPPED_TOTAL,
        n.WORKER_BUSY_SECONDS_TOTAL,
        n.WORKER_RESTARTS_TOTAL,
        n.WORKERS_BUSY,
    }
    assert {key: value for key, value in shown.items() if value} == {
        'huey_workers{queue="shop",worker_type="thread"}': 4,
        'huey_consumer_start_time_seconds{queue="shop"}': 900,
    }


def test_unregistered_tasks_past_a_bound_are_one_other_task(collector, registry):
    collector.add_consumer(1, consumer("app.late"))
    for number in range(600):
        collector(record("retrying", name=f"app.task{number}"), SOURCE)
    collector(record("retrying", name="app.late"), SOURCE)

    shown = page(registry, n.TASK_RETRIES_TOTAL)

    assert len(shown) == 502
    assert shown['huey_task_retries_total{queue="shop",task="_other"}'] == 100
    assert shown['huey_task_retries_total{queue="shop",task="app.late"}'] == 1


def test_task_registered_later_has_its_own_series_after_a_scrape(collector, registry):
    tasks = [TASK]
    collector.add_consumer(1, consumer(tasks=lambda: tasks))
    for number in range(600):
        collector(record("retrying", name=f"app.task{number}"), SOURCE)
    tasks.append("app.late")
    page(registry)
    collector(record("retrying", name="app.late"), SOURCE)

    shown = page(registry, n.TASK_RETRIES_TOTAL)

    assert shown['huey_task_retries_total{queue="shop",task="app.late"}'] == 1


def test_no_lock_is_held_while_a_page_is_rendered(collector):

    taken = []

    def take() -> None:
        taken.append(EXCLUSION.take(1.0))
        EXCLUSION.release()

    pages = iter(collector.collect())
    next(pages)
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()

    assert taken == [True]


def test_consumer_metrics_are_the_same_in_multi_process_mode(tmp_path):
    program = """
from prometheus_client import CollectorRegistry, generate_latest
from huey_otel._prometheus.collector import Collector
from tests.support.metrics import run
collector, registry = Collector(), CollectorRegistry()
registry.register(collector)
run(collector)
print(generate_latest(registry).decode())
"""
    plain = run_program(program)
    multi = run_program(program, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert (plain.stderr, multi.stderr) == ("", "")
    assert plain.stdout == multi.stdout
    assert list(tmp_path.iterdir()) == []


def test_strict_parser_of_openmetrics_reads_the_page(collector, registry):
    collector.add_consumer(1, consumer(TASK))
    run(collector)
    collector(sampled(record("started", wait=0.3), "b7ad6b7169203331"), SOURCE)
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")

    families = list(text_string_to_metric_families(encode(registry).decode()))

    read = {family.name: family.type for family in families}
    assert read == {family.name: family.type for family in collector.collect()}


def test_promtool_accepts_the_page(collector, registry):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool")
    collector.add_consumer(1, consumer(TASK, "app.never"))
    for one in random_records(20):
        collector(one, SOURCE)
    text = choose_encoder("")[0](registry)

    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
