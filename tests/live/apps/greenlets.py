"""A queue whose tasks run in greenlets; LIVE_PATCH says when gevent patches."""

import os

if os.environ.get("LIVE_PATCH") == "first":
    from gevent import monkey

    monkey.patch_all()

from huey import RedisHuey
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit
from tests.live.apps.patience import be_patient


def patch_if(when):
    if os.environ.get("LIVE_PATCH") == when:
        from gevent import monkey

        monkey.patch_all()


patch_if("after the import")
be_patient()
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey, publish_enqueued=True)
report_at_exit(instrumentation)
patch_if("after instrument")
TIMED = {"timeout": 0.1} if hasattr(huey, "rate_limit") else {}


@huey.task()
def add(a, b):
    return a + b


@huey.task(**TIMED)
def enqueue_for_ever():
    while True:
        add(1, 2)


def fork():
    """Leave a child in which all greenlets live on for a moment."""
    import gevent

    add(0, 0)
    instrumentation.flush(60)
    pid = os.fork()
    if not pid:
        gevent.sleep(0.1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def produce(greenlets, each):
    """Enqueue from many greenlets at once; what was counted, exported and lost."""
    import gevent

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("application")
    parents = {}

    def request(number):
        with tracer.start_as_current_span(f"request {number}") as span:
            for _ in range(each):
                parents[add(number, 1).id] = span.get_span_context().span_id
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(request, number) for number in range(greenlets)])
    spans = [s for s in exporter.get_finished_spans() if s.kind.name == "PRODUCER"]
    found = {s.attributes["messaging.message.id"]: s.parent.span_id for s in spans}
    labels = {"queue": "live", "task": "tests.live.apps.greenlets.add"}
    return {
        "queued": len(huey),
        "counted": REGISTRY.get_sample_value(
            "huey_tasks_enqueued_total", labels | {"origin": "call"}
        ),
        "right": found == parents,
        "lost": dict(instrumentation.dropped),
        "delivered": instrumentation.flush(60),
    }
