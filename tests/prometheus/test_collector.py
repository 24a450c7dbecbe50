"""What the collector shows of its counts."""

import shutil
import subprocess
import threading
import time

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG
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
    collector.add_consumer(1, consumer(periodic=False))

    (labels,) = [
        sample.labels
        for metric in collector.collect()
        for sample in metric.samples
        if sample.name == n.CONSUMER_INFO
    ]
    versions = {label for label in labels if label.endswith("version")}
    assert versions == {"version", "huey_version", "python_version"}
    assert all(labels[label][0].isdigit() for label in versions)
    assert {label: labels[label] for label in labels.keys() - versions} == {
        "queue": "shop",
        "worker_type": "thread",
        "periodic": "false",
    }


def test_losses_of_the_process_are_shown_by_reason(registry, losses: Losses):
    losses.count(n.LOSS_RELAY, 3, why="a test")

    shown = page(registry, n.EVENTS_DROPPED_TOTAL)

    assert shown == {
        f'huey_events_dropped_total{{reason="{reason}"}}': 3.0 * (reason == "relay")
        for reason in n.LOSS_REASONS
    }


def test_registered_task_that_never_ran_has_at_most_ten_series(collector, registry):
    collector.add_consumer(1, consumer(TASK))

    assert {key: value for key, value in page(registry).items() if TASK in key} == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 0,
        f"huey_task_attempts_total{{{OF_TASK}}}": 0,
        f'huey_tasks_finished_total{{outcome="failure",{OF_TASK}}}': 0,
        f'huey_tasks_finished_total{{outcome="success",{OF_TASK}}}': 0,
        f"huey_task_retries_total{{{OF_TASK}}}": 0,
    }


def test_task_that_succeeded_and_failed_has_at_most_eighty_series(collector, registry):
    collector.add_consumer(1, consumer(TASK))
    for origin in ("call", "retry"):
        collector(record("accepted", origin=origin), SOURCE)
    run(collector, outcome="error", final=None)
    feed(collector, record("error-task", exception="app.Oops"), record("retrying"))
    run(collector, outcome="error", final="failure")
    run(collector)
    collector(record("started", key=9, timestamp=time.time()), SOURCE)

    shown = page(registry)

    assert sum(TASK in key for key in shown) <= 80
    assert not [key for key in shown if "_created" in key]


def test_page_of_a_hundred_tasks_of_which_twenty_ran_is_as_documented(
    collector, registry
):
    live_tasks(collector, 100, 20)
    body = generate_latest(registry)

    series = len(page(registry))
    of_tasks = sum("task=" in key for key in page(registry))

    document = (ROOT / "docs" / "metrics.md").read_text()
    assert of_tasks == 80 * 5 + 20 * 74
    assert f"| 20 of 100 | {series:,} | {len(body) / 1000:,.0f} kB |" in document


def test_counters_of_a_consumer_begin_at_zero_and_times_are_absent(collector, registry):
    collector.add_consumer(1, consumer())

    shown = page(registry, *(name for name in CATALOG if name != n.CONSUMER_INFO))

    assert {key.partition("{")[0] for key, value in shown.items() if not value} == {
        n.CONSUMER_ERRORS_TOTAL,
        n.EVENTS_TOTAL,
        n.EVENTS_DROPPED_TOTAL,
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
