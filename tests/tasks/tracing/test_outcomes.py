"""How an attempt's span ends, for each way that a task can end."""

import contextlib
import gc
import json
from collections.abc import Iterator

import pytest
from huey import CancelExecution, RetryTask, api
from huey.api import Huey
from opentelemetry.trace import (
    StatusCode,
)
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.timeouts import alarm, untraced

HERE = __name__


def _returns():
    return 1


def _raises():
    raise ValueError("bad " + "x" * 5_000)


def _retries():
    raise RetryTask


def _cancels():
    raise CancelExecution


def _leaves():
    raise SystemExit(3)


def _interrupted():
    raise KeyboardInterrupt


def _mute():
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise MuteError


@pytest.mark.parametrize(
    ("body", "outcome", "error", "message"),
    [
        (_returns, "success", None, None),
        (_raises, "error", "ValueError", "bad " + "x" * 1_020),
        (_retries, "retry_requested", None, None),
        (_cancels, "canceled", None, None),
        (_leaves, "error", "SystemExit", "3"),
        (_interrupted, "interrupted", None, None),
        (
            _mute,
            "error",
            f"{HERE}._mute.<locals>.MuteError",
            "<exception str() failed: RuntimeError>",
        ),
    ],
    ids=["success", "error", "retry", "cancel", "exit", "interrupt", "mute"],
)
def test_outcomes(huey, seen, spans, body, outcome, error, message):
    _ends_like(huey, seen, spans, huey.task()(body), outcome, error, message)


def _ends_like(huey, seen, spans, task, outcome, error, message):
    task()
    with contextlib.suppress(SystemExit):
        huey.execute(huey.dequeue())

    name = f"process {task.task_class.__name__}"
    (span, *_) = spans.named(name)
    assert span.attributes["huey.task.outcome"] == outcome
    assert span.attributes.get("error.type") == error
    expected = StatusCode.UNSET if error is None else StatusCode.ERROR
    assert (span.status.status_code, span.status.description) == (expected, message)
    recorded = [
        (event.name, event.attributes["exception.type"]) for event in span.events
    ]
    assert recorded == ([] if error is None else [("exception", error)])
    for event in span.events:
        assert event.attributes["exception.message"] == message
        assert len(event.attributes["exception.stacktrace"].encode()) <= 16_384
        assert event.timestamp == int(_end_of_run(seen) * 1e9)


def _end_of_run(seen):
    (ended,) = [one for one in seen.published if one.get("duration") is not None]
    return ended["timestamp"]


def test_a_locked_task_is_no_error(huey, seen, spans):
    @huey.task()
    def locked():
        with huey.lock_task("lock"):
            pass

    with huey.lock_task("lock"):
        _ends_like(huey, seen, spans, locked, "locked", None, None)


@pytest.mark.skipif(not hasattr(Huey, "rate_limit"), reason="huey 2 has no limits")
def test_a_rate_limited_task_is_no_error(huey, seen, spans):
    @huey.task()
    def limited():
        with huey.rate_limit("limit", 0, per=60, retry=False):
            pass

    _ends_like(huey, seen, spans, limited, "rate_limited", None, None)


def test_a_result_that_cannot_be_stored_is_told_in_the_span(huey, seen, spans):
    def refuse(*_args, **_options):
        raise OSError("full")

    @huey.task()
    def add():
        return 1

    add()
    huey.storage.put_data = refuse
    with pytest.raises(OSError, match="full"):
        huey.execute(huey.dequeue())

    span = spans.one("process add")
    assert span.attributes["huey.task.outcome"] == "success"
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "full",
    )


SECRET = "a card's number"


def _fails_to_run(huey):
    @huey.task(retries=1)
    def fail():
        raise ValueError(SECRET)

    fail()
    return "process fail"


def _fails_to_store(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    _adding(huey)()
    huey.storage.put_data = refuse
    return "process add"


def _fails_to_enqueue(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    huey.storage.enqueue = refuse
    with pytest.raises(ValueError, match=SECRET):
        _adding(huey)()
    return "enqueue add"


def _fails_to_enqueue_a_batch(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    if not hasattr(api, "group"):
        pytest.skip("huey 2 has no groups")
    huey.storage.enqueue = refuse
    with pytest.raises(ValueError, match=SECRET):
        huey.enqueue(api.group([_adding(huey).s()]))
    return "enqueue group"


def _adding(huey):
    @huey.task()
    def add():
        return 1

    return add


@pytest.mark.parametrize(
    "act",
    [_fails_to_run, _fails_to_store, _fails_to_enqueue, _fails_to_enqueue_a_batch],
    ids=lambda act: act.__name__,
)
def test_without_tracebacks_nothing_but_the_class_of_an_exception_is_told(
    huey, instrumented, spans, drain, act
):
    registry = CollectorRegistry()
    seen = instrumented(
        tracebacks=False, semconv_metrics=True, publish_enqueued=True, registry=registry
    )

    name = act(huey)
    drain()

    failed = [span for span in spans.named(name) if span.events]
    told = [
        (dict(span.events[0].attributes), span.status.description) for span in failed
    ]
    assert {*map(repr, told)} == {repr(({"exception.type": "ValueError"}, None))}
    everything = [span.to_json() for span in spans.all]
    everything += [json.dumps(event) for event in seen.events]
    everything.append(generate_latest(registry).decode())
    assert [text for text in everything if SECRET in text] == []


@pytest.fixture
def limited(huey) -> Iterator[Huey]:
    """A huey whose tasks have time limits, as in a worker process."""
    if not hasattr(huey, "_timeout_handler"):
        pytest.skip("huey 2 has no timeouts")
    huey._timeout_handler = alarm()
    # An alarm inside of a collection is lost in whatever that finalizes.
    gc.collect()
    gc.disable()
    with untraced():
        yield huey
    gc.enable()
