"""Messages of other serializers than pickle carry context only with `envelope=True`."""

import json
import logging

import pytest
from huey import MemoryHuey
from huey.registry import Message
from huey.serializer import Serializer, SignedSerializer

from huey_otel._safety.losses import Losses
from huey_otel._storage.carriers import reader_of
from huey_otel._storage.contents import Meaning, contents
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans

TOGETHER = [{"enqueue add": {"process add": {}}}]
APART = [{"enqueue add": {}}, {"process add": {}}]


class Json(Serializer):
    """As huey's documentation tells one to write a serializer."""

    def _serialize(self, data):
        return json.dumps(data).encode()

    def _deserialize(self, data):
        found = json.loads(data.decode())
        is_message = isinstance(found, list) and len(found) == len(Message._fields)
        return Message(*found) if is_message else found


class Foreign:
    """A serializer that shares nothing with huey's."""

    def serialize(self, data):
        return json.dumps(data).encode()

    def deserialize(self, data):
        return Json()._deserialize(data)


class Reversed(Serializer):
    """Pickle in the end."""

    def _serialize(self, data):
        return super()._serialize(data)[::-1]

    def _deserialize(self, data):
        return super()._deserialize(data[::-1])


@pytest.fixture
def spans() -> Spans:
    return Spans()


def run(serializer, spans, *, reader=None, **options):
    """A task from its enqueue to its result; *reader*'s options are a worker's."""
    huey = MemoryHuey("my-app", serializer=serializer)
    seen = Recorded(huey, tracer_provider=spans.provider, **options)

    @huey.task()
    def add(a, b):
        return a + b

    result = add(1, 2)
    if reader is not None:
        seen.instrumentation.uninstrument()
        seen = Recorded(huey, tracer_provider=spans.provider, **reader)
    Drain(huey)()
    assert result() == 3
    return seen


OTHERS = [Json, lambda: Json(compression=True), Foreign]
IDS = ["json", "gzip", "foreign"]


@pytest.mark.parametrize("make", OTHERS, ids=IDS)
def test_without_envelopes_attempts_begin_traces_of_their_own(spans, make, caplog):
    seen = run(make(), spans)

    assert spans.trees == APART
    assert [event["status"] for event in seen.published] == ["started", "finished"]
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "carry no context" in warnings[0]


@pytest.mark.parametrize("make", OTHERS, ids=IDS)
def test_with_envelopes_enqueue_and_attempt_are_one_trace(spans, make, caplog):
    run(make(), spans, envelope=True)

    assert spans.trees == TOGETHER
    assert caplog.records == []


@pytest.mark.parametrize("make", OTHERS, ids=IDS)
@pytest.mark.parametrize("envelope", [True, False])
def test_the_age_of_a_message_is_known_by_its_envelope(spans, make, envelope, losses):
    huey = MemoryHuey("my-app", serializer=make())
    Recorded(huey, tracer_provider=spans.provider, envelope=envelope)

    @huey.task()
    def add(a, b):
        return a + b

    add(1, 2)
    meaning = Meaning(carrier=reader_of(huey.serializer))
    oldest = contents("my-app", huey.storage, meaning).oldest

    assert (oldest is not None) is envelope
    assert losses.counts() == {}


@pytest.mark.parametrize("make", OTHERS, ids=IDS)
def test_an_envelope_is_read_without_the_option(spans, make):
    run(make(), spans, envelope=True, reader={})

    assert spans.trees == TOGETHER


@pytest.mark.parametrize("make", OTHERS, ids=IDS)
def test_a_message_without_an_envelope_is_read_with_the_option(spans, make):
    run(make(), spans, reader={"envelope": True})

    assert spans.trees == APART


@pytest.mark.parametrize(
    "make",
    [
        Serializer,
        lambda: Serializer(compression=True),
        lambda: SignedSerializer("secret", compression=True, use_zlib=True),
        Reversed,
    ],
    ids=["pickle", "gzip", "signed", "reversed"],
)
@pytest.mark.parametrize("envelope", [False, True])
def test_serializers_that_end_in_hueys_pickle_need_no_envelope(spans, make, envelope):
    run(make(), spans, envelope=envelope)

    assert spans.trees == TOGETHER


def test_attempts_are_numbered_by_the_envelope(spans):
    huey = MemoryHuey("my-app", serializer=Json())
    seen = Recorded(huey, tracer_provider=spans.provider, envelope=True)

    @huey.task(retries=1)
    def fail():
        raise ValueError

    fail()
    huey.storage.flush_results()
    huey.results = False
    Drain(huey)()

    assert [event["attempt"] for event in seen.published] == [1, 1, 1, 2, 2]


def test_a_damaged_envelope_is_counted(spans, losses: Losses):
    huey = MemoryHuey("my-app", serializer=Json())
    Recorded(huey, tracer_provider=spans.provider, envelope=True)

    @huey.task()
    def add():
        pass

    add()
    (message,) = huey.storage.enqueued_items()
    huey.storage.flush_queue()
    huey.storage.enqueue(message[:-5] + b"\x63" + message[-4:])
    Drain(huey)()

    assert losses.counts() == {"carrier": 1}


def test_a_serializer_that_makes_no_bytes_gets_no_envelope(spans):
    class Text(Foreign):
        def serialize(self, data):
            return json.dumps(data)

        def deserialize(self, data):
            return Foreign().deserialize(data.encode())

    run(Text(), spans, envelope=True)

    assert spans.trees == APART
