import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.table import OPTIONS
from huey_otel._prometheus.calendar import Due
from huey_otel._prometheus.catalog import CATALOG
from huey_otel._prometheus.collector import Metrics
from huey_otel._prometheus.producer import ProducerCounter
from huey_otel._relay.overflow import Overflow
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import Losses
from huey_otel._wire.record import Record, Source, TaskFacts
from tests.support.metrics import (
    FORKING,
    SOURCE,
    TASK,
    consumer,
    live_tasks,
    page,
    record,
    run,
)
from tests.support.programs import ROOT, missing

OF_TASK = 'queue="shop",task="app.tasks.add"'


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def registry(metrics: Metrics) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(metrics)
    return made


def feed(metrics: Metrics, *records: Record, source: Source = SOURCE) -> None:
    for one in records:
        metrics(one, source)


def test_attempt_that_succeeds_moves_what_the_mapping_says(metrics, registry):
    metrics(record("accepted", origin="call"), SOURCE)
    run(metrics)

    assert page(
        registry,
        n.TASKS_ENQUEUED_TOTAL,
        n.TASK_ATTEMPTS_TOTAL,
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        n.TASKS_FINISHED_TOTAL,
        n.TASKS_IN_PROGRESS,
        n.TASK_RUNNING_AGE,
        n.TASK_LAST_STARTED,
        n.TASK_LAST_SUCCESS,
        n.TASK_LAST_FAILURE,
        n.EVENTS_TOTAL,
    ) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 1,
        f"huey_task_attempts_total{{{OF_TASK}}}": 1,
        f'huey_task_attempts_finished_total{{outcome="success",{OF_TASK}}}': 1,
        f'huey_tasks_finished_total{{outcome="success",{OF_TASK}}}': 1,
        f"huey_tasks_in_progress{{{OF_TASK}}}": 0,
        f"huey_task_last_started_timestamp_seconds{{{OF_TASK}}}": 1000,
        f"huey_task_last_success_timestamp_seconds{{{OF_TASK}}}": 1001,
        'huey_events_total{queue="shop",status="started"}': 1,
    }


def test_attempt_that_will_be_retried_ends_no_task(metrics, registry):
    run(metrics, outcome="error", final=None)
    feed(metrics, record("error-task", exception="app.Oops"), record("retrying"))

    assert page(
        registry,
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        n.TASKS_FINISHED_TOTAL,
        n.TASK_RETRIES_TOTAL,
        n.TASK_EXCEPTIONS_TOTAL,
        n.TASK_LAST_FAILURE,
    ) == {
        f'huey_task_attempts_finished_total{{outcome="error",{OF_TASK}}}': 1,
        f"huey_task_retries_total{{{OF_TASK}}}": 1,
        f'huey_task_exceptions_total{{exception="app.Oops",{OF_TASK}}}': 1,
    }


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        ("success", "success"),
        ("error", "error"),
        ("timeout", "error"),
        ("locked", None),
        ("rate_limited", None),
        ("retry_requested", None),
        ("canceled", None),
        ("interrupted", None),
    ],
)
def test_duration_is_that_of_attempts_that_succeeded_or_failed(
    metrics, registry, outcome, shown
):
    run(metrics, outcome=outcome, final=None, duration=0.5)

    counts = {
        key: value
        for key, value in page(registry, n.TASK_DURATION_SECONDS).items()
        if "_bucket" not in key
    }
    expected = {}
    if shown is not None:
        labels = f'outcome="{shown}",{OF_TASK}'
        expected = {
            f"huey_task_duration_seconds_count{{{labels}}}": 1,
            f"huey_task_duration_seconds_sum{{{labels}}}": 0.5,
        }
    assert counts == expected


def test_histogram_counts_what_is_on_a_bound_below_it():
    metrics, registry = Metrics(wait_buckets=[0.5, 1]), CollectorRegistry()
    registry.register(metrics)
    for key, wait in enumerate((0.5, 0.50001, 1, 3), start=1):
        metrics(record("started", key=key, wait=wait), SOURCE)

    assert page(registry, n.TASK_WAIT_SECONDS) == {
        f'huey_task_wait_seconds_bucket{{le="0.5",{OF_TASK}}}': 1,
        f'huey_task_wait_seconds_bucket{{le="1.0",{OF_TASK}}}': 3,
        f'huey_task_wait_seconds_bucket{{le="+Inf",{OF_TASK}}}': 4,
        f"huey_task_wait_seconds_count{{{OF_TASK}}}": 4,
        f"huey_task_wait_seconds_sum{{{OF_TASK}}}": 5.00001,
    }


def test_page_that_was_collected_does_not_change(metrics, registry):
    run(metrics)
    collected = {metric.name: metric for metric in metrics.collect()}
    run(metrics)
    later = page(registry, n.TASK_WAIT_SECONDS, n.TASK_ATTEMPTS_TOTAL)

    def count(name: str) -> list[float]:
        samples = collected[name].samples
        return [one.value for one in samples if one.name.endswith(("_count", "_total"))]

    assert count("huey_task_wait_seconds") == [1]
    assert count("huey_task_attempts") == [1]
    assert later[f"huey_task_wait_seconds_count{{{OF_TASK}}}"] == 2
    assert later[f"huey_task_attempts_total{{{OF_TASK}}}"] == 2


def test_attempt_whose_wait_is_unknown_is_no_observation(metrics, registry):
    metrics(record("started", wait=None), SOURCE)

    assert page(registry, n.TASK_WAIT_SECONDS) == {}


def test_lateness_of_the_scheduler_is_known_per_queue(metrics, registry):
    feed(
        metrics,
        record("accepted", origin="scheduled", late=0.25, name="app.a"),
        record("accepted", origin="scheduled", late=2.0, name="app.b"),
        record("accepted", origin="call", name="app.b"),
    )

    shown = page(registry, n.TASK_SCHEDULE_DELAY_SECONDS)
    assert {key: value for key, value in shown.items() if "_bucket" not in key} == {
        'huey_task_schedule_delay_seconds_count{queue="shop"}': 2,
        'huey_task_schedule_delay_seconds_sum{queue="shop"}': 2.25,
    }


def test_started_task_that_is_lost_is_an_attempt_and_a_popped_one_is_not(
    metrics, registry
):
    feed(
        metrics,
        record("started", key=1),
        record("lost", key=1, duration=3.0, timestamp=1003.0),
        record("dequeued", key=2),
        record("lost", key=2, timestamp=1003.0),
    )

    assert page(
        registry,
        n.TASK_ATTEMPTS_TOTAL,
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        n.TASKS_FINISHED_TOTAL,
        n.TASKS_IN_PROGRESS,
        n.TASK_LAST_FAILURE,
    ) == {
        f"huey_task_attempts_total{{{OF_TASK}}}": 1,
        f'huey_task_attempts_finished_total{{outcome="lost",{OF_TASK}}}': 1,
        f'huey_tasks_finished_total{{outcome="lost",{OF_TASK}}}': 2,
        f"huey_tasks_in_progress{{{OF_TASK}}}": 0,
        f"huey_task_last_failure_timestamp_seconds{{{OF_TASK}}}": 1003,
    }


def test_message_nobody_can_run_is_a_lost_task_and_no_attempt(metrics, registry):
    metrics(record("ended", key=0, name="_unknown", outcome=None, final="lost"), SOURCE)

    assert page(registry, n.TASKS_FINISHED_TOTAL, n.TASK_ATTEMPTS_FINISHED_TOTAL) == {
        'huey_tasks_finished_total{outcome="lost",queue="shop",task="_unknown"}': 1
    }


def test_running_attempts_are_in_progress_and_the_oldest_has_an_age(metrics, registry):
    now = time.time()
    feed(
        metrics,
        record("started", key=1, timestamp=now - 50),
        record("started", key=2, timestamp=now - 5, worker="Worker-2"),
        record("started", key=1, timestamp=now - 5, pid=8),
    )
    metrics.add_consumer(1, consumer())

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


def test_nested_attempts_keep_one_worker_busy(metrics, registry):
    feed(metrics, record("started", key=1), record("started", key=2))

    assert page(registry, n.TASKS_IN_PROGRESS, n.WORKERS_BUSY) == {
        f"huey_tasks_in_progress{{{OF_TASK}}}": 2,
        'huey_workers_busy{queue="shop",worker_type="thread"}': 1,
    }


@pytest.mark.parametrize("ending", ["ended", "lost"])
def test_end_of_an_attempt_whose_start_was_summed_up_leaves_nothing_below_zero(
    metrics, registry, ending
):
    overflow = Overflow()
    overflow.add(record("started", key=1, wait=0.1))
    metrics(record("started", key=2, wait=0.1), SOURCE)
    extra = {"outcome": "error", "final": "failure", "duration": 1.0}
    metrics(record(ending, key=1, **extra), SOURCE)
    feed(metrics, *overflow.take())

    assert page(
        registry,
        n.TASK_ATTEMPTS_TOTAL,
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        n.TASKS_IN_PROGRESS,
    ) == {
        f"huey_task_attempts_total{{{OF_TASK}}}": 2,
        "huey_task_attempts_finished_total"
        f'{{outcome="{"error" if ending == "ended" else "lost"}",{OF_TASK}}}': 1,
        f"huey_tasks_in_progress{{{OF_TASK}}}": 1,
    }


def test_huey_that_is_removed_leaves_its_counts_and_nothing_that_runs(
    metrics, registry
):
    metrics.add_consumer(1, consumer())
    metrics.add_consumer(2, consumer())
    feed(metrics, record("started"), record("started", source=2))
    metrics.remove(1)

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


def test_two_hueys_of_one_name_share_their_series(metrics, registry):
    metrics.add_consumer(1, consumer(TASK, started=900.0))
    metrics.add_consumer(2, consumer(TASK, started=800.0))
    feed(metrics, record("started"), record("started", source=2))

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


def test_consumer_names_its_versions(metrics, registry):
    metrics.add_consumer(1, consumer(periodic=False))

    (labels,) = [
        sample.labels
        for metric in metrics.collect()
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


@pytest.mark.parametrize(
    ("source", "records", "reason"),
    [
        pytest.param(
            SOURCE,
            [record("worker-ended", reason="max_tasks"), record("worker-replaced")],
            "max_tasks",
            id="a recycled thread",
        ),
        pytest.param(
            SOURCE,
            [record("worker-ended", reason="failed"), record("worker-replaced")],
            "died",
            id="a thread that failed",
        ),
        pytest.param(
            SOURCE, [record("worker-replaced")], "died", id="a thread without a word"
        ),
        pytest.param(
            FORKING,
            [
                record("worker-ended", reason="max_tasks"),
                record("gone", worker=None),
                record("worker-replaced"),
            ],
            "max_tasks",
            id="a recycled process",
        ),
        pytest.param(
            FORKING,
            [
                record("worker-replaced"),
                record("worker-ended", reason="max_tasks"),
                record("gone", worker=None),
            ],
            "max_tasks",
            id="a recycled process that was replaced before it was read of",
        ),
        pytest.param(
            FORKING,
            [record("worker-replaced"), record("gone", worker=None)],
            "died",
            id="a killed process",
        ),
    ],
)
def test_restart_has_the_reason_that_the_worker_gave(
    metrics, registry, source, records, reason
):
    feed(metrics, *records, source=source)

    assert page(registry, n.WORKER_RESTARTS_TOTAL) == {
        f'huey_worker_restarts_total{{queue="shop",reason="{reason}"}}': 1
    }


@pytest.mark.parametrize("source", [SOURCE, FORKING], ids=["thread", "process"])
def test_worker_that_nobody_replaced_was_not_restarted(metrics, registry, source):
    feed(
        metrics,
        record("worker-ended", reason="max_tasks"),
        record("gone", worker=None),
        source=source,
    )

    assert page(registry, n.WORKER_RESTARTS_TOTAL) == {}


def test_error_of_the_consumer_counts_as_often_as_it_says(metrics, registry):
    feed(
        metrics,
        record("error-dequeueing", name=None, count=7),
        record("error-storing-result"),
    )

    assert page(registry, n.CONSUMER_ERRORS_TOTAL, n.EVENTS_TOTAL) == {
        'huey_consumer_errors_total{kind="dequeueing",queue="shop"}': 7,
        'huey_consumer_errors_total{kind="storing_result",queue="shop"}': 1,
        'huey_events_total{queue="shop",status="error-dequeueing"}': 1,
        'huey_events_total{queue="shop",status="error-storing-result"}': 1,
    }


def test_last_check_of_the_scheduler_never_goes_back(metrics, registry):
    feed(
        metrics,
        record("checking-periodic", name=None, timestamp=60.0),
        record("checking-periodic", name=None, timestamp=50.0),
    )

    assert page(registry, n.SCHEDULER_LAST_CHECK) == {
        'huey_scheduler_last_check_timestamp_seconds{queue="shop"}': 60
    }


def scheduled(minute: float, name: str = TASK) -> Record:
    return record("scheduling-periodic", name=name, timestamp=60 * minute + 0.2)


def test_periodic_task_is_expected_to_go_on_as_it_did_the_last_time(metrics, registry):
    feed(metrics, scheduled(10), scheduled(10, name="app.once"))
    after_one = page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN)
    feed(metrics, scheduled(40), scheduled(55), scheduled(55), scheduled(54))

    assert after_one == {}
    assert page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN) == {
        f"huey_periodic_task_interval_seconds{{{OF_TASK}}}": 15 * 60,
        f"huey_periodic_task_next_run_timestamp_seconds{{{OF_TASK}}}": 70 * 60,
    }


def test_what_is_known_of_a_periodic_task_goes_before_what_was_seen(metrics, registry):
    metrics.add_consumer(1, consumer(due=lambda: {TASK: Due(3600, 7200)}))
    feed(metrics, scheduled(40), scheduled(55))

    assert page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN) == {
        f"huey_periodic_task_interval_seconds{{{OF_TASK}}}": 3600,
        f"huey_periodic_task_next_run_timestamp_seconds{{{OF_TASK}}}": 7200,
    }


def test_losses_of_the_process_are_shown_by_reason(registry, losses: Losses):
    losses.count(n.LOSS_RELAY, 3, why="a test")

    shown = page(registry, n.EVENTS_DROPPED_TOTAL)

    assert shown == {
        f'huey_events_dropped_total{{reason="{reason}"}}': 3.0 * (reason == "relay")
        for reason in n.LOSS_REASONS
    }


def test_registered_task_that_never_ran_has_at_most_ten_series(metrics, registry):
    metrics.add_consumer(1, consumer(TASK))

    assert {key: value for key, value in page(registry).items() if TASK in key} == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 0,
        f"huey_task_attempts_total{{{OF_TASK}}}": 0,
        f'huey_tasks_finished_total{{outcome="failure",{OF_TASK}}}': 0,
        f'huey_tasks_finished_total{{outcome="success",{OF_TASK}}}': 0,
        f"huey_task_retries_total{{{OF_TASK}}}": 0,
    }


def test_task_that_succeeded_and_failed_has_at_most_eighty_series(metrics, registry):
    metrics.add_consumer(1, consumer(TASK))
    for origin in ("call", "retry"):
        metrics(record("accepted", origin=origin), SOURCE)
    run(metrics, outcome="error", final=None)
    feed(metrics, record("error-task", exception="app.Oops"), record("retrying"))
    run(metrics, outcome="error", final="failure")
    run(metrics)
    metrics(record("started", key=9, timestamp=time.time()), SOURCE)

    shown = page(registry)

    assert sum(TASK in key for key in shown) <= 80
    assert not [key for key in shown if "_created" in key]


def test_page_of_a_hundred_tasks_of_which_twenty_ran_is_as_documented(
    metrics, registry
):
    live_tasks(metrics, 100, 20)
    body = generate_latest(registry)

    series = len(page(registry))
    of_tasks = sum("task=" in key for key in page(registry))

    document = (ROOT / "docs" / "metrics.md").read_text()
    assert of_tasks == 80 * 5 + 20 * 74
    assert f"| 20 of 100 | {series:,} | {len(body) / 1000:,.0f} kB |" in document


def test_counters_of_a_consumer_begin_at_zero_and_times_are_absent(metrics, registry):
    metrics.add_consumer(1, consumer())

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


def test_unknown_tasks_are_folded_past_a_bound_and_registered_ones_are_not(
    metrics, registry
):
    metrics.add_consumer(1, consumer("app.late"))
    for number in range(600):
        metrics(record("retrying", name=f"app.task{number}"), SOURCE)
    metrics(record("retrying", name="app.late"), SOURCE)

    shown = page(registry, n.TASK_RETRIES_TOTAL)

    assert len(shown) == 502
    assert shown['huey_task_retries_total{queue="shop",task="_other"}'] == 100
    assert shown['huey_task_retries_total{queue="shop",task="app.late"}'] == 1


def test_task_that_is_registered_later_is_not_folded_after_a_scrape(metrics, registry):
    tasks = [TASK]
    metrics.add_consumer(1, consumer(tasks=lambda: tasks))
    for number in range(600):
        metrics(record("retrying", name=f"app.task{number}"), SOURCE)
    tasks.append("app.late")
    page(registry)
    metrics(record("retrying", name="app.late"), SOURCE)

    shown = page(registry, n.TASK_RETRIES_TOTAL)

    assert shown['huey_task_retries_total{queue="shop",task="app.late"}'] == 1


def test_exceptions_past_fifty_classes_are_other(metrics, registry):
    for number in range(60):
        metrics(record("error-task", exception=f"app.E{number}"), SOURCE)

    shown = page(registry, n.TASK_EXCEPTIONS_TOTAL)

    assert len(shown) == 51
    assert shown[f'huey_task_exceptions_total{{exception="other",{OF_TASK}}}'] == 10


def random_records(number: int) -> Iterator[Record]:
    dice = random.Random(3)
    outcomes = ["success", "error", "timeout", "locked", "canceled", "interrupted"]
    for key in range(1, number + 1):
        name = f"app.task{dice.randrange(5)}"
        when = dice.uniform(1000, 2000)
        late = {"late": dice.expovariate(1)} if dice.random() < 0.3 else {}
        yield record(
            "accepted", name=name, origin=dice.choice(["call", "retry"]), **late
        )
        wait = dice.choice([None, 0.0, 0.5, dice.expovariate(3)])
        yield record("started", key=key, name=name, wait=wait, timestamp=when)
        outcome = dice.choice(outcomes)
        final = dice.choice([None, "success", "failure", "timeout"])
        if outcome == "error":
            yield record("error-task", key=key, name=name, exception="app.Oops")
            yield record("retrying", key=key, name=name)
        duration = dice.choice([0.5, dice.expovariate(0.1)])
        ended = {"outcome": outcome, "final": final, "duration": duration}
        yield record("ended", key=key, name=name, timestamp=when + 1, **ended)
        yield record("error-dequeueing", name=None, count=dice.randrange(1, 4))


def test_sums_move_every_counter_and_histogram_as_the_records_would():
    told, summed = Metrics(), Metrics()
    overflow = Overflow()
    for one in random_records(400):
        told(one, SOURCE)
        overflow.add(one)
    feed(summed, *overflow.take())

    assert _shown(summed) == {
        key: pytest.approx(value) for key, value in _shown(told).items()
    }


def _shown(metrics: Metrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return page(registry)


TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def sampled(one: Record, span_id: str) -> Record:
    facts = TaskFacts(*one.facts)._replace(trace_id=TRACE_ID, span_id=span_id)
    return one._replace(facts=tuple(facts))


def test_histograms_carry_the_last_trace_of_each_bucket(metrics, registry):
    later = record("started", wait=0.4, timestamp=1002.5)
    feed(
        metrics,
        sampled(record("started", wait=0.3), "b7ad6b7169203331"),
        sampled(later, "00f067aa0ba902b7"),
        sampled(record("ended", outcome="error", duration=7.0), "b7ad6b7169203331"),
    )
    encode, kind = choose_encoder("application/openmetrics-text; version=1.0.0")

    lines = [line for line in encode(registry).decode().splitlines() if " # {" in line]

    assert kind.startswith("application/openmetrics-text")
    assert lines == [
        f'huey_task_duration_seconds_bucket{{le="10.0",outcome="error",{OF_TASK}}} 1.0'
        ' # {span_id="b7ad6b7169203331",trace_id="0af7651916cd43dd8448eb211c80319c"}'
        " 7.0 1000.0",
        f'huey_task_wait_seconds_bucket{{le="0.5",{OF_TASK}}} 2.0'
        ' # {span_id="00f067aa0ba902b7",trace_id="0af7651916cd43dd8448eb211c80319c"}'
        " 0.4 1002.5",
    ]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("often", ValueError),
        (1.5, TypeError),
        ([True], TypeError),
        ([0.1, "1"], TypeError),
        ([], ValueError),
        ([0, 1], ValueError),
        ([-1, 1], ValueError),
        ([1, 1], ValueError),
        ([2, 1], ValueError),
        ([math.nan], ValueError),
        ([math.inf], ValueError),
        (range(1, 200), ValueError),
    ],
)
def test_wrong_buckets_are_refused_and_named(given, error):
    with pytest.raises(error, match=r"duration_buckets.*expected"):
        OPTIONS["duration_buckets"].argument(given)


def test_infinity_may_be_named_as_the_last_bucket():
    assert OPTIONS["wait_buckets"].argument([1, 2.5, math.inf]) == (1.0, 2.5)


def test_every_metric_of_the_mapping_is_moved_or_read_off(metrics):
    tally = metrics._tally
    moved = {
        *(*tally.numbers, *tally.histograms),
        *(n.TASKS_IN_PROGRESS, n.PERIODIC_INTERVAL),
    }

    unmoved = {name for row in mapping.TABLE.values() for name in row.metrics} - moved

    assert unmoved == {
        *(n.TASK_RUNNING_AGE, n.WORKERS_BUSY),
        n.PERIODIC_NEXT_RUN,
    }


def test_no_lock_is_held_while_a_page_is_rendered(metrics):

    taken = []

    def take() -> None:
        taken.append(EXCLUSION.take(1.0))
        EXCLUSION.release()

    pages = iter(metrics.collect())
    next(pages)
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()

    assert taken == [True]


def test_consumers_metrics_are_the_same_in_multi_process_mode(tmp_path):
    program = """
from prometheus_client import CollectorRegistry, generate_latest
from huey_otel._prometheus.collector import Metrics
from tests.support.metrics import run
metrics, registry = Metrics(), CollectorRegistry()
registry.register(metrics)
run(metrics)
print(generate_latest(registry).decode())
"""
    plain = _output(program, {})
    multi = _output(program, {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})

    assert plain == multi
    assert list(tmp_path.iterdir()) == []


def _output(program: str, env: dict[str, str]) -> str:
    kept = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **env},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


def test_page_pleases_a_strict_reader_of_openmetrics(metrics, registry):
    metrics.add_consumer(1, consumer(TASK))
    run(metrics)
    metrics(sampled(record("started", wait=0.3), "b7ad6b7169203331"), SOURCE)
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")

    families = list(text_string_to_metric_families(encode(registry).decode()))

    read = {family.name: family.type for family in families}
    assert read == {family.name: family.type for family in metrics.collect()}


def test_page_pleases_promtool(metrics, registry):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool")
    metrics.add_consumer(1, consumer(TASK, "app.never"))
    for one in random_records(20):
        metrics(one, SOURCE)
    text = choose_encoder("")[0](registry)

    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def producers(counter: ProducerCounter) -> None:
    for origin in ("call", "call", "pipeline"):
        counter.inc("shop", TASK, origin)


def test_producer_counts_what_it_enqueues_and_shows_nothing_else():
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    before = page(registry)
    producers(counter)

    assert before == {}
    assert page(registry) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 2,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }


def test_consumer_goes_on_counting_where_the_producer_was(metrics):
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    producers(counter)

    metrics.seed(counter.retired())
    registry.register(metrics)
    metrics(record("accepted", origin="call"), SOURCE)

    producers(counter)

    assert counter.retired() == {}
    assert page(registry, n.TASKS_ENQUEUED_TOTAL) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 3,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }


def test_producers_counts_add_up_in_multi_process_mode(tmp_path):
    program = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from huey_otel._options.table import OPTIONS
from huey_otel._prometheus.producer import ProducerCounter
counter = ProducerCounter(CollectorRegistry())
counter.inc("shop", "app.add", "call")
pid = os.fork()
counter.inc("shop", "app.add", "call")
if pid:
    os.waitpid(pid, 0)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""
    output = _output(program, {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})

    values = [line for line in output.split("\n") if line and line[0] != "#"]
    assert values == [
        'huey_tasks_enqueued_total{origin="call",queue="shop",task="app.add"} 3.0'
    ]


def test_handler_that_enqueues_in_the_middle_of_a_count_is_counted(monkeypatch):
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    counter.inc("shop", TASK, "call")
    child: Any = counter._children["shop", TASK, "call"]
    inc = child.inc

    def interrupted() -> None:
        counter.inc("shop", TASK, "pipeline")
        inc()

    monkeypatch.setattr(child, "inc", interrupted)
    counter.inc("shop", TASK, "call")

    assert page(registry, n.TASKS_ENQUEUED_TOTAL) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 2,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }
