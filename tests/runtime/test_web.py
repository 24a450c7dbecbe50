"""The shop's page: what its requests enqueue, and their spans."""

import pytest
from flask.testing import FlaskClient
from huey import Huey
from huey.storage import MemoryStorage

from huey_otel import instrument, uninstrument
from runtime import shop
from runtime.demo.producer import requests
from runtime.load.cases import packed, reminded
from runtime.shop import web
from tests.support.recorded import Drain
from tests.support.spans import Spans


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    spans = Spans()
    monkeypatch.setattr(web, "TRACER", spans.tracer)
    return spans


@pytest.fixture
def huey(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> Huey:
    """The shop's queue, in memory and traced."""
    uninstrument(shop.huey)
    monkeypatch.setattr(shop.huey, "storage", MemoryStorage("shop"))
    instrument(shop.huey, tracer_provider=spans.provider)
    return shop.huey


@pytest.fixture
def client(huey: Huey) -> FlaskClient:
    return web.app.test_client()


def test_order_is_one_trace_from_the_request_to_the_receipt(
    client: FlaskClient, drain: Drain, spans: Spans
) -> None:
    answer = client.post("/order", data={"declines": "1"})
    drain()

    assert answer.status_code == 202
    (tree,) = spans.trees
    charge = tree["POST /order"]["enqueue charge_card"]
    assert len(charge) == 2
    assert {"enqueue pack_order", "enqueue call_courier"} <= set(tree["POST /order"])
    assert "process send_receipt" in str(charge)
    context = spans.one("POST /order").context
    assert f"{context.trace_id:032x}" in answer.text


def test_office_enqueues_tasks_that_enqueue_others(
    client: FlaskClient, drain: Drain, spans: Spans
) -> None:
    assert client.post("/office").status_code == 202
    drain()

    assert sorted(name for name in spans.names if name.startswith("process")) == [
        "process announce_offer",
        "process publish_photo",
        "process resize_photo",
        "process resize_photo",
        "process sync_stock",
    ]


def test_span_of_a_request_goes_on_with_the_trace_that_it_brings(
    client: FlaskClient, spans: Spans
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    client.get("/", headers={"traceparent": parent})

    span = spans.one("GET /")
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == parent[3:35]
    assert f"{span.parent.span_id:016x}" == parent[36:52]
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/",
        "url.path": "/",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize("declines", ["-1", "4"])
def test_wrong_number_says_what_is_accepted(client: FlaskClient, declines: str) -> None:
    answer = client.post("/order", data={"declines": declines})

    assert answer.status_code == 400
    assert "expected a number from 0 to 3" in answer.text
    assert len(shop.huey) == 0


def test_page_shows_the_trace_where_the_spans_go(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, spans: Spans
) -> None:
    monkeypatch.setenv("SHOP_JAEGER_URL", "http://localhost:16686")

    answer = client.post("/order")

    trace_id = f"{spans.one('POST /order').context.trace_id:032x}"
    assert f'href="/trace/{trace_id}"' in answer.text
    assert "3 tasks wait" in answer.text


def test_metrics_are_served_beside_the_page(client: FlaskClient) -> None:
    client.post("/order")

    answer = client.get("/metrics")

    name = "runtime.shop.tasks.charge_card"
    line = f'huey_tasks_enqueued_total{{origin="call",queue="shop",task="{name}"}}'
    assert line in answer.text


def test_request_that_nothing_answers_ends_its_span(
    client: FlaskClient, spans: Spans
) -> None:
    assert client.get("/nothing").status_code == 404

    assert spans.names == ["GET"]


def test_demo_enqueues_in_requests_of_the_same_page(huey: Huey, spans: Spans) -> None:
    for case in requests([packed(1), reminded(2)]):
        huey.enqueue(case.task)

    assert spans.trees == [
        {"POST /order": {"enqueue pack_order": {}}},
        {"POST /office": {"enqueue remind_cart": {}}},
    ]


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http", "8²"])
def test_a_port_that_is_none_is_refused(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        web.main(["--port", port])

    assert ended.value.code == 2
    assert (
        f"--port: {port!r}: expected a port from 1 to 65535" in capsys.readouterr().err
    )


@pytest.mark.parametrize("jaeger", ["", "http://127.0.0.1:1"], ids=["none", "one"])
def test_a_trace_that_cannot_be_is_not_looked_for(
    jaeger: str, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_JAEGER_URL", jaeger)

    trace_id = "0af7651916cd43dd8448eb211c80319c" if not jaeger else "0af7651916cd"

    assert client.get(f"/trace/{trace_id}").status_code == 404


def test_a_jaeger_that_is_away_is_asked_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_JAEGER_URL", "http://127.0.0.1:1")

    answer = client.get("/trace/0af7651916cd43dd8448eb211c80319c")

    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="1"' in answer.text
    assert "Jaeger does not answer" in answer.text
