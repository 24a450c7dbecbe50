"""What each record counts, and under which labels."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.catalog import CATALOG, Kind
from huey_otel._prometheus.collector import Collector
from huey_otel._relay.overflow import Overflow
from huey_otel._wire.record import COUNTED_BY
from tests.support.metrics import (
    FORKING,
    OF_TASK,
    SOURCE,
    TASK,
    feed,
    page,
    random_records,
    record,
    run,
    sampled,
)


def test_attempt_that_succeeds_moves_its_metrics(collector, registry):
    collector(record("accepted", origin="call"), SOURCE)
    run(collector)

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


def test_new_work_is_told_from_what_is_put_back(collector, registry):
    for origin in ("call", "call", "periodic", "pipeline", "retry", "scheduled"):
        collector(record("accepted", origin=origin), SOURCE)

    assert page(registry, n.TASKS_ENQUEUED_TOTAL, n.TASK_REQUEUES_TOTAL) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 2,
        f'huey_tasks_enqueued_total{{origin="periodic",{OF_TASK}}}': 1,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
        f'huey_task_requeues_total{{queue="shop",reason="retry",task="{TASK}"}}': 1,
        f'huey_task_requeues_total{{queue="shop",reason="scheduled",task="{TASK}"}}': 1,
    }


def test_attempt_that_will_be_retried_ends_no_task(collector, registry):
    run(collector, outcome="error", final=None)
    feed(collector, record("error-task", exception="app.Oops"), record("retrying"))

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
    ("outcome", "observed"),
    [
        ("success", True),
        ("error", True),
        ("timeout", True),
        ("locked", False),
        ("rate_limited", False),
        ("retry_requested", False),
        ("canceled", False),
        ("interrupted", False),
    ],
)
def test_only_attempts_that_succeeded_or_failed_have_a_duration(
    collector, registry, outcome, observed
):
    run(collector, outcome=outcome, final=None, duration=0.5)

    counts = {
        key: value
        for key, value in page(registry, n.TASK_DURATION_SECONDS).items()
        if "_bucket" not in key
    }
    expected = {
        f"huey_task_duration_seconds_count{{{OF_TASK}}}": 1,
        f"huey_task_duration_seconds_sum{{{OF_TASK}}}": 0.5,
    }
    assert counts == (expected if observed else {})


def test_value_on_a_bound_is_counted_in_the_bucket_below_it():
    collector, registry = Collector(wait_buckets=[0.5, 1]), CollectorRegistry()
    registry.register(collector)
    for key, wait in enumerate((0.5, 0.50001, 1, 3), start=1):
        collector(record("started", key=key, wait=wait), SOURCE)

    assert page(registry, n.TASK_WAIT_SECONDS) == {
        f'huey_task_wait_seconds_bucket{{le="0.5",{OF_TASK}}}': 1,
        f'huey_task_wait_seconds_bucket{{le="1.0",{OF_TASK}}}': 3,
        f'huey_task_wait_seconds_bucket{{le="+Inf",{OF_TASK}}}': 4,
        f"huey_task_wait_seconds_count{{{OF_TASK}}}": 4,
        f"huey_task_wait_seconds_sum{{{OF_TASK}}}": 5.00001,
    }


def test_attempt_with_an_unknown_wait_is_not_observed(collector, registry):
    collector(record("started", wait=None), SOURCE)

    assert page(registry, n.TASK_WAIT_SECONDS) == {}


def test_schedule_delay_is_observed_by_queue(collector, registry):
    feed(
        collector,
        record("accepted", origin="scheduled", late=0.25, name="app.a"),
        record("accepted", origin="scheduled", late=2.0, name="app.b"),
        record("accepted", origin="call", name="app.b"),
    )

    shown = page(registry, n.TASK_SCHEDULE_DELAY_SECONDS)
    assert {key: value for key, value in shown.items() if "_bucket" not in key} == {
        'huey_task_schedule_delay_seconds_count{queue="shop"}': 2,
        'huey_task_schedule_delay_seconds_sum{queue="shop"}': 2.25,
    }


def test_lost_task_was_an_attempt_only_if_it_had_started(collector, registry):
    feed(
        collector,
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


def test_message_that_cannot_be_decoded_is_a_lost_task_and_no_attempt(
    collector, registry
):
    collector(
        record("ended", key=0, name="_unknown", outcome=None, final="lost"), SOURCE
    )

    assert page(registry, n.TASKS_FINISHED_TOTAL, n.TASK_ATTEMPTS_FINISHED_TOTAL) == {
        'huey_tasks_finished_total{outcome="lost",queue="shop",task="_unknown"}': 1
    }


@pytest.mark.parametrize("ending", ["ended", "lost"])
def test_end_of_an_attempt_with_a_summed_up_start_leaves_nothing_below_zero(
    collector, registry, ending
):
    overflow = Overflow()
    overflow.add(record("started", key=1, wait=0.1))
    collector(record("started", key=2, wait=0.1), SOURCE)
    extra = {"outcome": "error", "final": "failure", "duration": 1.0}
    collector(record(ending, key=1, **extra), SOURCE)
    feed(collector, *overflow.take())

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
def test_restart_has_the_reason_of_the_worker(
    collector, registry, source, records, reason
):
    feed(collector, *records, source=source)

    assert page(registry, n.WORKER_RESTARTS_TOTAL) == {
        f'huey_worker_restarts_total{{queue="shop",reason="{reason}"}}': 1
    }


def test_thread_that_ends_before_its_predecessor_is_told_of_has_a_reason_too(
    collector, registry
):
    feed(
        collector,
        record("worker-ended", reason="max_tasks"),
        record("worker-ended", reason="failed"),
        record("worker-replaced"),
        record("worker-ended", reason="max_tasks"),
        record("worker-replaced"),
        record("worker-replaced"),
    )

    assert page(registry, n.WORKER_RESTARTS_TOTAL) == {
        'huey_worker_restarts_total{queue="shop",reason="max_tasks"}': 2,
        'huey_worker_restarts_total{queue="shop",reason="died"}': 1,
    }


@pytest.mark.parametrize("source", [SOURCE, FORKING], ids=["thread", "process"])
def test_worker_that_huey_does_not_replace_is_no_restart(collector, registry, source):
    feed(
        collector,
        record("worker-ended", reason="max_tasks"),
        record("gone", worker=None),
        source=source,
    )

    assert page(registry, n.WORKER_RESTARTS_TOTAL) == {}


def test_scheduler_that_huey_replaces_is_a_restart(collector, registry):
    feed(collector, record("scheduler-replaced", key=0, name=None, worker="Scheduler"))

    assert page(registry, n.SCHEDULER_RESTARTS_TOTAL, n.WORKER_RESTARTS_TOTAL) == {
        'huey_scheduler_restarts_total{queue="shop"}': 1
    }


def test_error_of_the_consumer_counts_as_often_as_it_says(collector, registry):
    feed(
        collector,
        record("error-dequeueing", name=None, count=7),
        record("error-storing-result"),
    )

    assert page(registry, n.CONSUMER_ERRORS_TOTAL, n.EVENTS_TOTAL) == {
        'huey_consumer_errors_total{kind="dequeueing",queue="shop"}': 7,
        'huey_consumer_errors_total{kind="storing_result",queue="shop"}': 1,
        'huey_events_total{queue="shop",status="error-dequeueing"}': 1,
        'huey_events_total{queue="shop",status="error-storing-result"}': 1,
    }


def test_last_check_of_the_scheduler_never_goes_back(collector, registry):
    feed(
        collector,
        record("checking-periodic", name=None, timestamp=60.0),
        record("checking-periodic", name=None, timestamp=50.0),
    )

    assert page(registry, n.SCHEDULER_LAST_CHECK) == {
        'huey_scheduler_last_check_timestamp_seconds{queue="shop"}': 60
    }


def test_exceptions_past_fifty_classes_are_other(collector, registry):
    for number in range(60):
        collector(record("error-task", exception=f"app.E{number}"), SOURCE)

    shown = page(registry, n.TASK_EXCEPTIONS_TOTAL)

    assert len(shown) == 51
    assert shown[f'huey_task_exceptions_total{{exception="other",{OF_TASK}}}'] == 10


def test_sums_move_counters_and_histograms_like_their_records():
    told, summed = Collector(), Collector()
    overflow = Overflow()
    for one in random_records(400):
        told(one, SOURCE)
        overflow.add(one)
    feed(summed, *overflow.take())

    assert _shown(summed) == {
        key: pytest.approx(value) for key, value in _shown(told).items()
    }


def _shown(collector: Collector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return page(registry)


def test_histograms_carry_the_last_trace_of_each_bucket(collector, registry):
    later = record("started", wait=0.4, timestamp=1002.5)
    feed(
        collector,
        sampled(record("started", wait=0.3), "b7ad6b7169203331"),
        sampled(later, "00f067aa0ba902b7"),
        sampled(record("ended", outcome="error", duration=7.0), "b7ad6b7169203331"),
    )
    encode, kind = choose_encoder("application/openmetrics-text; version=1.0.0")

    lines = [line for line in encode(registry).decode().splitlines() if " # {" in line]

    assert kind.startswith("application/openmetrics-text")
    assert lines == [
        f'huey_task_duration_seconds_bucket{{le="8.0",{OF_TASK}}} 1.0'
        ' # {span_id="b7ad6b7169203331",trace_id="0af7651916cd43dd8448eb211c80319c"}'
        " 7.0 1000.0",
        f'huey_task_wait_seconds_bucket{{le="0.5",{OF_TASK}}} 2.0'
        ' # {span_id="00f067aa0ba902b7",trace_id="0af7651916cd43dd8448eb211c80319c"}'
        " 0.4 1002.5",
    ]


def test_every_metric_of_the_mapping_is_counted_or_read_off():
    moved = {name for name, one in CATALOG.items() if one.labels_of is not None}

    named = {name for row in mapping.TABLE.values() for name in row.metrics}

    assert named - moved == {
        *(n.TASK_RUNNING_AGE, n.WORKERS_BUSY, n.WORKER_BUSY_SECONDS_TOTAL),
        n.PERIODIC_NEXT_RUN,
    }
    assert moved - named == {n.EVENTS_TOTAL}


def test_sums_keep_every_extra_key_that_labels_are_made_of():
    assert set(Kind._fields[2:]) <= set(COUNTED_BY)
