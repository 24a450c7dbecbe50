"""Lines of our log can be written by any handler."""

import io
import logging
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel import instrument
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._safety.losses import LOSSES, Losses

ODD, SAID = "party \ud83c", "party \\ud83c"


class Strict(logging.StreamHandler):
    """Writes UTF-8 as a file does, and raises what keeps it from that."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        super().__init__(io.TextIOWrapper(self.written, "utf-8", write_through=True))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        raise

    @property
    def text(self) -> str:
        return self.written.getvalue().decode()


@pytest.fixture
def handler() -> Iterator[Strict]:
    handler = Strict()
    logger = logging.getLogger(n.LOGGER)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_value_that_is_no_utf_8_is_written(handler):
    assert warn("queue %s of %d", ODD, 3)

    assert handler.text == f"queue {SAID} of 3\n"


def test_a_loss_that_names_what_is_no_utf_8_is_written(handler, losses: Losses):
    LOSSES.count(n.LOSS_SPANS, why=f"the exporter says {ODD}")

    assert handler.text == f"the exporter says {SAID} (counted as spans)\n"
    assert losses.counts() == {"spans": 1}


@guarded
def fail(message: str) -> None:
    raise ValueError(message)


def test_a_traceback_that_is_no_utf_8_is_written(handler, losses: Losses):
    fail(ODD)

    assert handler.text.splitlines()[0].startswith("ValueError in fail")
    assert handler.text.splitlines()[-1] == f"ValueError: {SAID}"
    assert losses.counts() == {"internal": 1}


def test_a_traceback_that_can_be_written_is_that_of_logging(
    handler, losses: Losses, caplog
):
    fail("no")

    (record,) = caplog.records
    assert record.exc_info[0] is ValueError
    assert handler.text.splitlines()[-1] == "ValueError: no"
    assert losses.counts() == {"internal": 1}


@guarded
def fail_in_an_except(secret: Exception) -> None:
    try:
        raise secret
    except ValueError as error:
        raise KeyError("ours, of " + str(error)) from error


def test_without_tracebacks_a_line_has_only_classes_and_where(
    handler, losses: Losses, caplog
):
    with instrument(MemoryHuey("a"), tracebacks=False):
        try:
            raise ValueError("the task's secret")
        except ValueError as secret:
            fail_in_an_except(secret)

    (record,) = caplog.records
    lines = handler.text.splitlines()
    assert not record.exc_info
    assert "secret" not in handler.text
    assert lines[:2] == [
        "KeyError in fail_in_an_except, telemetry was lost (counted as internal)",
        "Traceback (most recent call last):",
    ]
    assert [line for line in lines if "in fail_in_an_except" in line[1:]]
    assert lines[-1] == "KeyError"
    assert losses.counts() == {"internal": 1}


def test_tracebacks_are_back_once_no_instrumentation_withholds_them(
    handler, losses: Losses, caplog
):
    instrument(MemoryHuey("a"), tracebacks=False).uninstrument()

    fail("no")

    assert handler.text.splitlines()[-1] == "ValueError: no"


def test_the_exception_of_a_storage_is_named_by_its_class(handler, losses: Losses):
    huey, registry = MemoryHuey("a"), CollectorRegistry()
    with instrument(huey, tracebacks=False, registry=registry) as instrumentation:
        consumer = huey.create_consumer(workers=1)
        huey._huey_otel.consumer.starts(consumer)
        huey._huey_otel.consumer.started(consumer)

        def refuse() -> int:
            raise ValueError("secret")

        huey.storage.queue_size = refuse
        list(registry.collect())
        instrumentation._shared.consuming = False

    assert handler.text == (
        "the storage of 'a' raised ValueError, its gauges are absent"
        " (counted as gauges)\n"
    )
    assert losses.counts() == {"gauges": 1}
