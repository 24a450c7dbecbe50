"""The trailer of a message: written and read below signatures and compression."""

import pickle

import pytest
from huey import MemoryHuey
from huey.serializer import Serializer, SignedSerializer

from huey_otel import (
    instrument,
    uninstrument,
)
from huey_otel._hooks.serializer import ObservedSerializer
from huey_otel._wire.carrier import decode
from tests.support.recorded import Drain, Recorded


def queued(huey):
    """The message on the queue, as it is stored."""
    (message,) = huey.storage.enqueued_items()
    return message


SERIALIZERS = {
    "plain": Serializer,
    "gzip": lambda: Serializer(compression=True),
    "zlib": lambda: Serializer(compression=True, use_zlib=True),
    "signed": lambda: SignedSerializer(secret="s"),
    "signed and gzip": lambda: SignedSerializer(secret="s", compression=True),
    "an old protocol": lambda: Serializer(pickle_protocol=2),
}


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_a_message_of_an_instrumented_huey_is_read_by_a_bare_one(make):
    sender = MemoryHuey("my-app", serializer=make())
    receiver = MemoryHuey("my-app", serializer=make())
    instrument(sender)
    for huey in (sender, receiver):
        huey.task(name="add")(lambda a: a)

    sender.enqueue(
        sender._registry._registry[next(iter(sender._registry._registry))]((7,))
    )
    task = receiver.deserialize_task(queued(sender))

    assert task.args == (7,)


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_a_carrier_is_read_back_from_its_message(make):
    huey = MemoryHuey("my-app", serializer=make())
    seen = Recorded(huey)
    drain = Drain(huey)

    @huey.task(retries=1)
    def send():
        raise ValueError("no")

    send()
    drain()

    assert [step for step in seen.steps if step[0] == "started"] == [
        ("started", 1, 1),
        ("started", 0, 2),
    ]
    assert seen.published[0]["wait"] >= 0.0


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_a_message_of_a_bare_huey_is_executed(make):
    huey = MemoryHuey("my-app", serializer=make())

    @huey.task()
    def send():
        return 7

    result = send()
    seen = Recorded(huey)
    Drain(huey)()

    assert result() == 7
    assert [(e["status"], e["attempt"]) for e in seen.published] == [
        ("started", 1),
        ("finished", 1),
    ]
    assert seen.published[0]["wait"] is None


def test_only_messages_have_a_trailer(huey):
    instrument(huey)

    @huey.task()
    def send():
        return "result"

    send()
    message = queued(huey)
    Drain(huey)()
    (result,) = huey.storage.result_items().values()

    assert decode(message).attempt == 1
    assert result == pickle.dumps("result", pickle.HIGHEST_PROTOCOL)


@pytest.mark.parametrize(
    "trailer",
    [
        b"nonsense" + b"\x00" * 24 + b"\x08\x00\x00\x02hotl",
        b"[]" + b"\x00" * 24 + b"\x02\x00\x00\x63hotl",
        b"x" * 1_000_000 + b"\xff\xff\xff\x02hotl",
    ],
    ids=["garbage", "a newer version", "megabytes"],
)
def test_a_task_with_a_hostile_trailer_runs_without_it_and_is_counted(
    huey, losses, trailer
):
    @huey.task()
    def send():
        return 7

    result = send()
    seen = Recorded(huey)
    message = huey.storage.dequeue()
    huey.storage.enqueue(message + trailer)
    escaped = Drain(huey)()

    assert escaped == []
    assert result() == 7
    assert seen.published[0]["wait"] is None
    assert losses.counts() == {"carrier": 1}


@pytest.mark.parametrize("first", [0, 1], ids=["in order", "in reverse"])
def test_a_serializer_of_two_hueys_is_put_back_with_the_last(first):
    serializer = Serializer()
    hueys = [MemoryHuey(name, serializer=serializer) for name in ("a", "b")]
    for huey in hueys:
        instrument(huey)

    uninstrument(hueys[first])
    between = isinstance(serializer, ObservedSerializer)
    uninstrument(hueys[1 - first])

    assert between is True
    assert type(serializer) is Serializer
    assert vars(serializer) == vars(Serializer())


class JSONSerializer(Serializer):
    """A user's serializer that shares nothing with huey's."""

    def _serialize(self, data):
        import json

        return json.dumps(data).encode()

    def _deserialize(self, data):
        import json

        from huey.registry import Message

        value = json.loads(data)
        return Message(*value) if isinstance(value, list) else value


class ForeignSerializer:
    """A user's serializer that is no subclass of huey's."""

    def serialize(self, data):
        return pickle.dumps(data)

    def deserialize(self, data):
        return pickle.loads(data)


@pytest.mark.parametrize("kind", [JSONSerializer, ForeignSerializer])
def test_a_users_own_serializer_works_and_is_put_back(kind):
    serializer = kind()
    huey = MemoryHuey("my-app", serializer=serializer)
    seen = Recorded(huey)

    @huey.task(retries=1)
    def send():
        return 7

    result = send()
    message = queued(huey)
    Drain(huey)()
    value = result()
    uninstrument(huey)

    assert message == kind().serialize(kind().deserialize(message))
    assert value == 7
    assert [step[0] for step in seen.steps] == ["started", "finished"]
    assert type(serializer) is kind
