"""A consumer that was there before its huey was instrumented."""

from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer
from prometheus_client import CollectorRegistry

from huey_otel import instrument
from huey_otel._hooks import huey as hueys
from huey_otel._hooks.consumer import ObservedConsumer, ObservedWorker, existing
from huey_otel._otel.span_counts import SPANS
from huey_otel._process.shared import shared
from tests.support.recorded import Recorded
from tests.support.waiting import wait_until

QUICK = {"initial_delay": 0.01, "max_delay": 0.02}


def start(consumer: Consumer) -> None:
    """Start its threads, without the signal handlers that `start` sets."""
    consumer.scheduler.start()
    for _, thread in consumer.worker_threads:
        thread.start()


@pytest.fixture
def consumer(huey: Huey) -> Iterator[Consumer]:
    consumer = huey.create_consumer(workers=1, **QUICK)
    yield consumer
    consumer.stop_flag.set()
    for thread in (consumer.scheduler, *(one for _, one in consumer.worker_threads)):
        if thread.ident is not None:
            thread.join()


def test_a_consumer_that_was_made_before_is_observed(
    huey: Huey, consumer: Consumer
) -> None:
    instrument(huey)

    assert isinstance(consumer, ObservedConsumer)
    assert shared().consuming is False


def test_a_consumer_that_runs_already_is_observed_from_then_on(
    huey: Huey, consumer: Consumer
) -> None:
    start(consumer)
    seen = Recorded(huey)

    @huey.task()
    def send() -> None: ...

    for _ in range(2):
        send()
    wait_until(lambda: len(seen.published) == 4)

    assert [event["status"] for event in seen.published] == ["started", "finished"] * 2
    assert seen.published[-1]["worker"] == "Worker-1"
    assert shared().consuming is True


def test_a_consumer_made_without_create_consumer_is_found_at_the_first_dequeue(
    huey: Huey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with huey 2, whose consumer sets nothing on it.
    monkeypatch.setattr(hueys, "_SET_BY_A_CONSUMER", "")
    instrument(huey)
    consumer = Consumer(huey, workers=1, **QUICK)
    start(consumer)
    wait_until(lambda: shared().consuming)
    consumer.stop_flag.set()

    assert isinstance(consumer, ObservedConsumer)


@pytest.mark.skipif(
    not hasattr(MemoryHuey(), "_timeout_handler"),
    reason="huey 2 does not say that one is made",
)
@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_consumer_made_without_create_consumer_is_observed_before_it_starts(
    huey: Huey, worker_type: str
) -> None:
    class Mine(Consumer):
        """The application's own."""

    instrument(huey)
    consumer = Mine(huey, workers=2, worker_type=worker_type)

    workers = [type(worker) for worker, _ in consumer.worker_threads]
    # It never starts, so nothing of these processes ever ends.
    SPANS._workers.clear()
    assert isinstance(consumer, ObservedConsumer)
    assert [issubclass(kind, ObservedWorker) for kind in workers] == [True, True]


@pytest.mark.parametrize("first", ["instrumented", "started"])
def test_a_consumer_that_has_forked_its_workers_is_refused_or_warned_of(
    first: str, huey: Huey, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    # Threads pass for the processes, which cannot be asked whether they are any.
    consumer.worker_type = WORKER_PROCESS
    consumer._set_child_signal_handlers = lambda: None
    start(consumer)
    said = "the consumer of queue 'my-app' has forked its workers already"

    if first == "started":
        with pytest.raises(RuntimeError, match=said):
            instrument(huey)
        assert type(huey).__mro__[0].__name__ == "MemoryHuey"
        return
    consumer.stop_flag.set()
    instrument(huey)
    consumer.stop_flag.clear()
    huey.dequeue()

    assert [entry.getMessage()[: len(said)] for entry in caplog.records] == [said]


def test_a_consumer_that_starts_after_uninstrument_is_not_shown(
    huey: Huey, consumer: Consumer
) -> None:
    registry = CollectorRegistry()
    instrumentation = instrument(huey, registry=registry)
    observation = instrumentation._observation
    assert observation is not None
    instrumentation.uninstrument()

    observation.consumer.starts(consumer)
    observation.consumer.started(consumer)

    assert (shared().consuming, shared().page.endpoint) == (False, None)
    assert list(registry.collect()) == []


def test_a_stopped_consumer_is_not_found(huey: Huey, consumer: Consumer) -> None:
    before = existing(huey)
    consumer.stop_flag.set()

    assert (before, existing(huey)) == ([consumer], [])


def test_a_huey_without_a_consumer_has_none_to_find(huey: Huey) -> None:
    assert existing(huey) == []
