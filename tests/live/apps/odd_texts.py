"""A queue with one task whose texts are no UTF-8."""

import json
import os

from huey import RedisHuey, signals
from opentelemetry import trace

from huey_otel import instrument

ODD = json.loads('"party \\ud83c"')

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
tracer = trace.get_tracer("application")


@huey.task()
def good():
    pass


@huey.task()
def bad():
    raise ValueError(ODD)


@huey.task()
def own_span():
    with tracer.start_as_current_span(ODD):
        pass


# huey's own line about a failure is not to be what fails here.
@huey.signal(signals.SIGNAL_ERROR)
def seen(_signal, _task, _error):
    pass
