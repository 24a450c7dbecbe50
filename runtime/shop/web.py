"""`python -m runtime web`: the shop's page, whose requests put tasks on the queue."""

import argparse
import itertools
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta

import waitress  # type: ignore[import-untyped]  # no py.typed
from flask import (
    Flask,
    Response,
    abort,
    g,
    redirect,
    render_template_string,
    request,
)
from flask.typing import ResponseReturnValue
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from prometheus_client import make_wsgi_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from runtime import arguments, logs
from runtime.shop import huey, jaeger, tasks

SERVICE = "shop-web"
TRACE_ID = re.compile("[0-9a-f]{32}")
TRACER = trace.get_tracer(SERVICE)
PAGE = """<!doctype html>
<title>The shop</title>
<style>body { font: 1.1em sans-serif; margin: 3em } form { display: inline }</style>
<h1>The shop</h1>
{% for label, path, declines in buttons %}
<form method="post" action="{{ path }}">
  <input type="hidden" name="declines" value="{{ declines }}">
  <button>{{ label }}</button>
</form>
{% endfor %}
{% if done %}<p>{{ done }}
  {% if jaeger and trace_id %}<a href="/trace/{{ trace_id }}">Its trace</a>
  {% elif trace_id %}Its trace is {{ trace_id }}.{% endif %}
{% endif %}
<p>{{ waiting }} tasks wait.
"""
WAITING = """<!doctype html>
<title>A trace</title>
<meta http-equiv="refresh" content="1">
<style>body { font: 1.1em sans-serif; margin: 3em }</style>
<p>The trace {{ trace_id }} is on its way: {{ said }}.
<p>This page looks again each second. <a href="{{ page }}">Open it in Jaeger</a>
all the same.
"""
SAID = {
    jaeger.Found.NOT_YET: "Jaeger does not have it yet",
    jaeger.Found.NO_ANSWER: "Jaeger does not answer",
}
BUTTONS = (
    ("Order", "/order", 0),
    ("Order, the card is declined at first", "/order", 1),
    ("Order, the card is declined", "/order", 3),
    ("Work in the office", "/office", 0),
)

app = Flask(__name__)
log = logging.getLogger(__name__)
# This process has no consumer: it serves the counts of what it has enqueued.
app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]  # as Flask says
    app.wsgi_app, {"/metrics": make_wsgi_app()}
)
_numbers = itertools.count(1)


def main(argv: Sequence[str]) -> int:
    """Serve the page with the options *argv* until a signal ends it."""
    options = _parser().parse_args(argv)
    logs.configure(level=logging.INFO, worker="threadName")
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        send_spans()
    # waitress handles SIGINT only. The last spans are exported when Python exits.
    signal.signal(signal.SIGTERM, lambda *_received: sys.exit(0))
    waitress.serve(app, host=options.host, port=options.port)
    return 0


def send_spans() -> None:
    """Export this process' spans over OTLP/HTTP; the environment names the endpoint.

    The application makes the provider, and huey-otel uses it.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@app.before_request
def start_span() -> None:
    """Start the span of a request, the parent of everything that it enqueues."""
    # Not OpenTelemetry's instrumentation of Flask: it needs one exact version of the
    # SDK, and the shop runs with many.
    route = request.url_rule.rule if request.url_rule else ""
    g.span = ExitStack()
    g.span.enter_context(
        TRACER.start_as_current_span(
            f"{request.method} {route}".rstrip(),
            context=propagate.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": request.method,
                "http.route": route,
                "url.path": request.path,
                "url.scheme": request.scheme,
            },
        )
    )


@app.after_request
def say_status(response: Response) -> Response:
    """Set the status of the answer on the span."""
    span = trace.get_current_span()
    span.set_attribute("http.response.status_code", response.status_code)
    if response.status_code >= 500:
        span.set_status(Status(StatusCode.ERROR))
    return response


@app.teardown_request
def end_span(_error: BaseException | None) -> None:
    """End the span; Flask calls this even after an error."""
    g.pop("span").close()


@app.get("/")
def front() -> str:
    """Show the page with its buttons."""
    return _page()


@app.get("/trace/<trace_id>")
def trace_of(trace_id: str) -> ResponseReturnValue:
    """Redirect to a trace as soon as Jaeger has it; spans are exported in batches."""
    page = jaeger.page_of(trace_id)
    if page is None or not TRACE_ID.fullmatch(trace_id):
        abort(404)
    found = jaeger.find(trace_id)
    if found is jaeger.Found.THERE:
        return redirect(page)
    return render_template_string(
        WAITING, trace_id=trace_id, said=SAID[found], page=page
    )


@app.post("/order")
def order() -> tuple[str, int]:
    """Take an order: charge the card, send the receipt, pack it, and call a courier.

    The bank declines the card `declines` times.
    """
    declines = request.form.get("declines", default=0, type=int)
    if not 0 <= declines <= 3:
        abort(400, "declines: expected a number from 0 to 3")
    number = next(_numbers)
    charge = tasks.charge_card.s(number, 9.5, declines=declines)
    huey.enqueue(charge.then(tasks.send_receipt))
    tasks.pack_order(number)
    tasks.call_courier(number, busy=number % 2)
    log.info("order %d is on the queue", number)
    return _page(f"Order {number} is on the queue."), 202


@app.post("/office")
def office() -> tuple[str, int]:
    """Do office work: publish a photo, count the stock, announce an offer."""
    number = next(_numbers)
    tasks.publish_photo(f"photo-{number}", [320, 640], seconds=0.2)
    tasks.sync_stock("warehouse-1", seconds=0.5)
    offer = tasks.announce_offer.s(number, expires=timedelta(hours=1))
    huey.enqueue(offer)
    log.info("work %d is on the queue", number)
    return _page("The work is on the queue."), 202


def _page(done: str = "") -> str:
    context = trace.get_current_span().get_span_context()
    return render_template_string(
        PAGE,
        buttons=BUTTONS,
        done=done,
        jaeger=os.environ.get("SHOP_JAEGER_URL", ""),
        trace_id=format_trace_id(context.trace_id) if context.is_valid else "",
        waiting=len(huey) + huey.scheduled_count(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime web",
        description="Serve the shop's page, which puts tasks on the queue at "
        "SHOP_REDIS_URL.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=arguments.port, default=8000, help="(default: %(default)s)"
    )
    return parser
