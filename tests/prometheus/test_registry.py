"""The exposition: what hueys of one registry, and of several, show in a process."""

import gc
from collections.abc import Callable, Iterator

import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.consumer import Consumer
from opentelemetry import context as contexts
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from huey_otel import Instrumentation, instrument
from huey_otel import _names as n
from huey_otel._options.settings import Exposed
from huey_otel._prometheus.registry import MetricsPage, RegistryMetrics
from huey_otel._safety.losses import Losses
from tests.support import metrics
from tests.support.forks import fork
from tests.support.recorded import LATER, Drain
from tests.support.waiting import wait_until

ENQUEUED = "huey_tasks_enqueued_total"
OF_B = {"queue": "b", "task": f"{__name__}.add", "origin": "call"}

Consuming = Callable[..., Instrumentation]


def add() -> None:
    """A task."""


@pytest.fixture
def consuming() -> Iterator[Consuming]:
    """Begins what a consumer of a huey begins before its workers, and no worker."""
    begun: list[Instrumentation] = []

    def begin(huey: Huey, **options: object) -> Instrumentation:
        instrumentation = instrument(huey, **options)  # type: ignore[arg-type]  # of a test
        consumer: Consumer = huey.create_consumer(workers=1)
        assert instrumentation._observation is not None
        instrumentation._observation.consumer.starts(consumer)
        begun.append(instrumentation)
        return instrumentation

    yield begin
    for instrumentation in begun:
        instrumentation.uninstrument()
        instrumentation._shared.consuming = False


def of_enqueued(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value(ENQUEUED, OF_B)


def test_default_registry_may_be_named(losses: Losses) -> None:
    unnamed, named = MemoryHuey("a"), MemoryHuey("b")
    instrument(unnamed)
    instrument(named, registry=REGISTRY)

    unnamed.task()(add)()
    task = named.task()(add)
    task()
    task()

    assert of_enqueued(REGISTRY) == 2
    assert losses.counts() == {}


def test_producer_counts_no_work_that_is_put_back() -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b", immediate=True)
    instrument(huey, registry=registry)

    @huey.task(retries=2)
    def fail() -> None:
        raise ValueError

    fail()

    assert metrics.page(registry) == {
        f'{ENQUEUED}{{origin="call",queue="b",task="{__name__}.fail"}}': 1
    }


def test_new_work_on_queue_or_schedule_is_told_from_what_is_put_back(
    consuming: Consuming,
) -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b")
    instrumentation = consuming(huey, registry=registry)

    @huey.task()
    def add() -> None: ...

    @huey.task(retries=1)
    def fail() -> None:
        raise ValueError

    @huey.task(retries=1, retry_delay=60)
    def fail_slowly() -> None:
        raise ValueError

    # Two of these are put off: by a worker, and by the application itself.
    add.schedule(delay=60)
    huey.add_schedule(add.s(eta=LATER))
    huey.enqueue(add.s().then(add))
    fail()
    fail_slowly()
    drain = Drain(huey)
    drain()
    drain.ripe()
    instrumentation.flush()

    def of(name: str, label: str) -> str:
        return f'{{{label},queue="b",task="{__name__}.{name}"}}'

    def put_back(name: str, reason: str) -> str:
        return f'{{queue="b",reason="{reason}",task="{__name__}.{name}"}}'

    shown = metrics.page(registry, n.TASKS_ENQUEUED_TOTAL, n.TASK_REQUEUES_TOTAL)
    assert {key: value for key, value in shown.items() if value} == {
        ENQUEUED + of("add", 'origin="call"'): 3,
        ENQUEUED + of("add", 'origin="pipeline"'): 1,
        ENQUEUED + of("fail", 'origin="call"'): 1,
        ENQUEUED + of("fail_slowly", 'origin="call"'): 1,
        n.TASK_REQUEUES_TOTAL + put_back("add", "scheduled"): 2,
        n.TASK_REQUEUES_TOTAL + put_back("fail", "retry"): 1,
        n.TASK_REQUEUES_TOTAL + put_back("fail_slowly", "retry"): 1,
        n.TASK_REQUEUES_TOTAL + put_back("fail_slowly", "scheduled"): 1,
    }


def test_dead_scheduler_that_huey_replaces_is_counted(consuming: Consuming) -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b")
    instrumentation = consuming(huey, registry=registry)
    # Neither its scheduler nor its worker was started.
    consumer: Consumer = huey.create_consumer(workers=1)

    consumer.check_worker_health()
    consumer.check_worker_health()
    instrumentation.flush()

    consumer.stop_flag.set()
    for thread in (consumer.scheduler, consumer.worker_threads[0][1]):
        thread.join()
    shown = metrics.page(registry, n.SCHEDULER_RESTARTS_TOTAL, n.WORKER_RESTARTS_TOTAL)
    assert {key: value for key, value in shown.items() if value} == {
        'huey_scheduler_restarts_total{queue="b"}': 1,
        'huey_worker_restarts_total{queue="b",reason="died"}': 1,
    }


def test_a_task_that_enqueues_for_another_registry_is_counted_there(
    consuming: Consuming,
) -> None:
    registry = CollectorRegistry()
    other = MemoryHuey("b")
    instrumentation = instrument(other, registry=registry)
    consuming(MemoryHuey("a"), registry=CollectorRegistry())

    other.task()(add)()
    instrumentation.flush()

    assert of_enqueued(registry) == 1


def test_a_huey_instrumented_after_a_consumer_started_counts(
    consuming: Consuming,
) -> None:
    consuming(MemoryHuey("a"), registry=CollectorRegistry())
    registry = CollectorRegistry()
    late = MemoryHuey("b")
    instrumentation = instrument(late, registry=registry)

    late.task()(add)()
    instrumentation.flush()

    assert of_enqueued(registry) == 1


def test_enqueue_in_a_forked_child_is_counted(consuming: Consuming) -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b")
    consuming(huey, registry=registry)
    task = huey.task()(add)

    child = fork(task)

    assert child.join() == 0
    wait_until(lambda: of_enqueued(registry) == 1)


@pytest.mark.parametrize("name", ["huey_queue_length", "huey_tasks_finished"])
def test_an_application_metric_of_our_name_hides_only_that_metric(
    name: str, consuming: Consuming, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    Gauge(name, "The application's.", registry=registry).set(7)

    huey = MemoryHuey("b")
    instrumentation = consuming(huey, registry=registry)
    huey.task()(add)()
    instrumentation.flush()
    shown = [metric.name for metric in registry.collect()]

    assert registry.get_sample_value(name) == 7
    assert of_enqueued(registry) == 1
    assert shown.count(name) == 1
    assert losses.counts() == {n.LOSS_INTERNAL: 1}
    assert [record.getMessage() for record in caplog.records] == [
        f"the application has a metric {name} of its own in the registry,"
        f" so {name} of huey-otel is not shown; give instrument() a registry= of its"
        " own to have both (counted as internal)"
    ]


def test_two_hueys_of_a_registry_agree_on_its_buckets() -> None:
    registry = CollectorRegistry()
    instrument(MemoryHuey("a"), registry=registry, wait_buckets=[1, 2])
    other = MemoryHuey("b")

    with pytest.raises(ValueError, match=r"wait_buckets=.*another huey.*\(1.0, 2.0\)"):
        instrument(other, registry=registry)

    assert type(other) is MemoryHuey


def test_registry_is_empty_once_all_its_hueys_are_uninstrumented(
    consuming: Consuming,
) -> None:
    registry = CollectorRegistry()
    first, second = MemoryHuey("a"), MemoryHuey("b")
    instrumentation = instrument(first, registry=registry)
    first.task()(add)()
    consuming(second, registry=registry).uninstrument()
    between = [metric.name for metric in registry.collect()]

    instrumentation.uninstrument()

    assert n.QUEUE_LENGTH in between
    assert list(registry.collect()) == []


def test_registries_of_uninstrumented_hueys_are_freed() -> None:
    def alive() -> int:
        gc.collect()
        return sum(type(thing) is RegistryMetrics for thing in gc.get_objects())

    before = alive()
    for _ in range(20):
        instrument(MemoryHuey("a"), registry=CollectorRegistry()).uninstrument()

    assert alive() == before


def test_a_consumer_that_has_stopped_is_not_shown(consuming: Consuming) -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b")
    instrumentation = consuming(huey, registry=registry, metrics_port=None)
    instrumentation._observation.consumer.started(huey.create_consumer(workers=1))
    running = {metric.name for metric in registry.collect() if metric.samples}

    instrumentation._observation.consumer.stops()
    stopped = {metric.name for metric in registry.collect() if metric.samples}

    of_a_consumer = {
        *(n.WORKERS, n.WORKERS_BUSY, n.CONSUMER_INFO.removesuffix("_info")),
        *(n.CONSUMER_START_TIME, n.QUEUE_LENGTH, n.SCHEDULE_LENGTH),
    }
    assert of_a_consumer <= running
    assert of_a_consumer & stopped == set()


def test_storages_are_asked_outside_of_any_trace(consuming: Consuming) -> None:
    registry = CollectorRegistry()
    huey = MemoryHuey("b")
    suppressed: list[object] = []
    size = huey.storage.queue_size

    def asked() -> int:
        suppressed.append(contexts.get_value("suppress_instrumentation"))
        return int(size())

    huey.storage.queue_size = asked
    instrumentation = consuming(huey, registry=registry, metrics_port=None)
    instrumentation._observation.consumer.started(huey.create_consumer(workers=1))

    assert registry.get_sample_value(n.QUEUE_LENGTH, {"queue": "b"}) == 0
    assert suppressed == [True]


def exposed(**changes: object) -> Exposed:
    parts: dict[str, object] = {"host": "localhost", "port": 0}
    buckets = {"duration_buckets": (1.0,), "wait_buckets": (1.0,)}
    return Exposed(**(parts | buckets | changes))  # type: ignore[arg-type]  # of a test


@pytest.fixture
def page() -> Iterator[MetricsPage]:
    page = MetricsPage()
    yield page
    page.close(1)
    page.close(2)


def test_where_says_why_the_port_is_not_open(page: MetricsPage) -> None:
    wish = exposed(host="192.0.2.1", port=9464)
    exposition = RegistryMetrics(CollectorRegistry(), wish)

    page.open(1, "a", exposition, wish, lambda: None)

    where = page.where(exposition, wish)
    assert where.startswith("not yet, port 192.0.2.1:9464 cannot be had (")


def test_a_second_registry_is_said_not_to_be_served(
    page: MetricsPage, caplog: pytest.LogCaptureFixture
) -> None:
    wish = exposed()
    first = RegistryMetrics(CollectorRegistry(), wish)
    second = RegistryMetrics(CollectorRegistry(), wish)

    page.open(1, "a", first, wish, lambda: None)
    page.open(2, "b", second, wish, lambda: None)

    url = page.where(first, wish)
    assert url.startswith("http://localhost:")
    assert page.where(second, wish) == (
        f"not served: this process serves the registry of queue a ({url});"
        " serve registry= yourself, or give both queues the same"
    )
    assert caplog.messages == [
        "queue b: registry= is not served; a process has one page, and this one's"
        f" is that of queue a ({url})"
    ]


def test_the_start_line_of_a_second_registry_gives_no_page(
    consuming: Consuming, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", n.LOGGER)
    for name in ("a", "b"):
        huey = MemoryHuey(name)
        instrumentation = consuming(huey, registry=CollectorRegistry())
        instrumentation._observation.consumer.started(huey.create_consumer(workers=1))

    first, _, second = (" ".join(message.split()) for message in caplog.messages)
    assert " metrics: http://localhost:" in first
    assert " metrics: not served: this process serves the registry of queue a" in second


@pytest.mark.parametrize(
    ("changes", "unused"),
    [
        ({"port": 9465}, ["metrics_port=9465"]),
        ({"host": "127.0.0.1"}, ["metrics_host='127.0.0.1'"]),
        (
            {"host": "127.0.0.1", "port": 9465},
            ["metrics_host='127.0.0.1' with metrics_port=9465"],
        ),
        ({"port": 9464}, []),
        ({"port": None}, []),
    ],
    ids=["port", "host", "both", "the default", "none"],
)
def test_a_second_address_is_said_not_to_be_served(
    page: MetricsPage,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, object],
    unused: list[str],
) -> None:
    wish, other = exposed(), exposed(**changes)
    exposition = RegistryMetrics(CollectorRegistry(), wish)

    page.open(1, "a", exposition, wish, lambda: None)
    page.open(2, "b", exposition, other, lambda: None)

    url = page.where(exposition, wish)
    assert page.where(exposition, other) == url
    assert caplog.messages == [
        f"queue b: {what} is not served; a process has one page, and this one's is"
        f" that of queue a ({url})"
        for what in unused
    ]
