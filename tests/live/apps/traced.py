"""A queue whose tasks are traced."""

import os
import time

from huey import RedisHuey
from huey.signals import SIGNAL_COMPLETE
from opentelemetry import trace

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit
from tests.live.apps.patience import be_patient

be_patient()
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])


def foreign_provider():
    """A provider that the application made itself."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


foreign = foreign_provider() if "LIVE_FOREIGN" in os.environ else None
instrumentation = instrument(huey, tracer_provider=foreign)
report_at_exit(instrumentation)
tracer = trace.get_tracer("application")


@huey.task()
def count():
    huey.storage.conn.incr("done")


@huey.task()
def nested():
    return 2


@huey.task()
def work():
    with tracer.start_as_current_span("inside"):
        nested()
    return 1


@huey.task()
def after(_result):
    huey.storage.conn.incr("done")


@huey.task()
def flood(number):
    for _ in range(number):
        tracer.start_span("inside").end()
    huey.storage.conn.incr("done")


@huey.task()
def outlast():
    """End a span when the spans of the consumer's end are being sent."""
    huey.storage.conn.incr("outlasting")
    # redis-py 8 would wait for 5 s only.
    while huey.storage.conn.lpop("sent") is None:
        time.sleep(0.01)
    tracer.start_span("after the end").end()
    huey.storage.conn.incr("done")


@huey.task(retries=1)
def hang():
    with tracer.start_as_current_span("inside"):
        pass
    huey.storage.conn.lpush("hangs", os.getpid())
    time.sleep(60)


@huey.task(retries=1)
def stumble():
    if huey.storage.conn.incr("stumbles") == 1:
        raise ValueError
    huey.storage.conn.lpush("hangs", os.getpid())
    time.sleep(60)


@huey.task(retries=1)
def refuse():
    raise ValueError("on purpose")


@huey.task()
def warm_up():
    pass


if "LIVE_LINGER" in os.environ:

    @huey.signal(SIGNAL_COMPLETE)
    def linger(_signal, _task):
        huey.storage.conn.lpush("hangs", os.getpid())
        time.sleep(60)


if "LIVE_WARM" in os.environ:
    # The provider is built, and has a connection open, before any worker is forked.
    warm_up()
    instrumentation.flush()
