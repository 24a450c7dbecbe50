"""A text that is no UTF-8 costs no other telemetry, with real readers."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Receiver
from tests.live.scraping import fetch, serves_anything, url_of
from tests.support.programs import free_port
from tests.support.strict_readers import labels_of, read_json
from tests.support.waiting import wait_until

GOOD = 21
SAID = "party \\ud83c"
QUICK = ("-w", "2", "-d", "0.02", "-m", "0.1")

Start = Callable[..., object]


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with otlp.receiver(getattr(request, "param", HTTP)) as receiving:
        yield receiving


@pytest.fixture
def published(redis_url: str) -> Iterator[list[bytes]]:
    """The published messages, as bytes."""
    bodies: list[bytes] = []
    over = threading.Event()
    client = redis.Redis.from_url(redis_url)
    channel = client.pubsub(ignore_subscribe_messages=True)
    channel.subscribe("live")
    wait_until(lambda: client.pubsub_numsub("live") == [(b"live", 1)])

    def listen() -> None:
        while not over.is_set():
            message = channel.get_message(timeout=0.1)
            if message is not None:
                bodies.append(message["data"])

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield bodies
    over.set()
    thread.join()
    channel.close()
    client.close()


def statuses(bodies: list[bytes]) -> Counter[str]:
    return Counter(read_json(body)["status"] for body in bodies)


@pytest.mark.parametrize(
    ("receiver", "kind", "odd"),
    [
        (HTTP, "process", "bad"),
        (GRPC, "process", "bad"),
        (HTTP, "thread", "own_span"),
        (GRPC, "process", "own_span"),
    ],
    indirect=["receiver"],
)
def test_all_spans_events_and_metrics_of_its_neighbours_arrive(
    consumer, application, receiver, published, kind, odd
):
    app = application("odd_texts", OTEL_SDK_DISABLED="true")
    port = free_port()
    for _ in range(GOOD):
        app.good()
    getattr(app, odd)()
    running = consumer(
        kind,
        *QUICK,
        application="odd_texts",
        # Whole batches: they leave when the consumer ends.
        OTEL_BSP_SCHEDULE_DELAY="60000",
        OTEL_SDK_DISABLED="false",
        HUEY_OTEL_METRICS_PORT=str(port),
        **receiver.environ,
    )
    wait_until(lambda: statuses(published)["finished"] >= GOOD + (odd == "own_span"))
    wait_until(lambda: statuses(published)["error-task"] >= (odd == "bad"))
    wait_until(lambda: serves_anything(port))
    status, page = fetch(url_of(port, "/metrics"))
    running.stop()

    names = Counter(span.name for span in receiver.spans)
    module = "tests.live.apps.odd_texts"
    expected = {f"process {module}.good": GOOD, f"process {module}.{odd}": 1}
    assert names == expected | ({SAID: 1} if odd == "own_span" else {})
    assert status == 200
    assert f"{module}.{odd}" in labels_of(page.encode())
    main = f"{socket.gethostname()}:{running.pid}"
    assert {
        span.attributes["messaging.client.id"]
        for span in receiver.spans
        if span.kind == "CONSUMER"
    } == {main}
    assert "(counted as" not in running.log
    if odd == "bad":
        (failed,) = [one for one in receiver.spans if one.name.endswith(".bad")]
        (event,) = [
            body for body in map(read_json, published) if body["status"] == "error-task"
        ]
        assert failed.message == SAID
        assert event["traceback"].splitlines()[-1] == f"ValueError: {SAID}"
        (recorded,) = failed.events
        assert recorded.attributes["exception.stacktrace"] == event["traceback"]


def test_a_service_whose_name_is_no_utf_8_has_one_all_the_same(
    consumer, application, receiver, published
):
    app = application("odd_texts", OTEL_SDK_DISABLED="true")
    app.good()
    running = consumer(
        "process",
        *QUICK,
        application="odd_texts",
        OTEL_SDK_DISABLED="false",
        OTEL_SERVICE_NAME="caf\udce9",
        OTEL_RESOURCE_ATTRIBUTES="place=\udcff,site=b",
        **receiver.environ,
    )
    wait_until(lambda: statuses(published)["finished"] >= 1)
    running.stop()

    (span,) = receiver.spans
    told = {name: span.resource[name] for name in ("service.name", "place", "site")}
    assert told == {"service.name": "caf\\udce9", "place": "\\udcff", "site": "b"}
    assert json.dumps(told, ensure_ascii=False).encode()
    assert "Failed to encode" not in running.log
