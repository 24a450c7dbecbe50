"""Which client a span is of: the producer itself, or a consumer's main process."""

import os
import socket

import pytest
from huey.api import Huey

from huey_otel._wire.client import CLIENT, Client
from tests.support.forks import said_in_child
from tests.support.recorded import Recorded
from tests.support.spans import Spans


def me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def test_a_producer_has_its_own_id():
    assert Client().id == me()


def test_a_child_of_a_producer_has_its_own_id():
    client = Client()

    child, said = said_in_child(lambda: [me(), client.id])

    assert child == said != client.id


def test_a_child_of_a_consumer_has_the_consumers_id():
    client = Client()
    client.consumes()

    assert said_in_child(lambda: client.id) == client.id == me()


def test_a_child_that_starts_a_consumer_has_its_own_id():
    client = Client()

    def consume() -> list[str]:
        client.consumes()
        return [me(), client.id]

    child, said = said_in_child(consume)

    assert child == said


def test_spans_of_a_child_carry_its_own_id(huey: Huey, monkeypatch: pytest.MonkeyPatch):
    # A consumer may have run in this process.
    monkeypatch.setattr(CLIENT, "_consumes", False)
    spans = Spans()
    Recorded(huey, tracer_provider=spans.provider)
    add = huey.task()(lambda: None)
    add()

    def enqueue() -> list[object]:
        spans.clear()
        add()
        (span,) = spans.all
        return [me(), span.attributes["messaging.client.id"]]

    child, said = said_in_child(enqueue)

    (span,) = spans.all
    assert child == said
    assert span.attributes["messaging.client.id"] == me()


def test_a_host_name_that_is_not_utf_8_becomes_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: os.fsdecode(b"caf\xe9"))

    client = Client()

    assert (client.host, client.id) == ("caf\\udce9", f"caf\\udce9:{os.getpid()}")
