"""A queue whose exporter takes SLOW seconds; LIVE_PATCH says when gevent patches."""

import os
import time

if os.environ.get("LIVE_PATCH") == "first":
    from gevent import monkey

    monkey.patch_all()

from huey import RedisHuey
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from huey_otel import instrument

# So much longer than the timeout that a busy machine's delays are in between.
SLOW = 5.0


class SlowExporter(SpanExporter):
    """Takes its time over the spans of a consumer's enqueues."""

    def export(self, spans):
        if "LIVE_SLOW" in os.environ and spans[0].name.startswith("enqueue"):
            time.sleep(SLOW)
        return SpanExportResult.SUCCESS


provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(SlowExporter()))
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey, tracer_provider=provider)
TIMED = {"timeout": 0.3} if hasattr(huey, "rate_limit") else {}


@huey.task()
def nothing(): ...


@huey.task(**TIMED)
def enqueue():
    nothing()


@huey.task(**TIMED)
def enqueue_after_a_timeout():
    """What a task does that cleans up once its time is over."""
    try:
        time.sleep(SLOW)
    except Exception:  # noqa: BLE001 - as a task may
        nothing()
