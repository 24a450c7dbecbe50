"""A queue whose application has no code of huey-otel."""

import os
import sys

from huey import RedisHuey
from opentelemetry import trace

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])


@huey.task(retries=1)
def divide(a, b):
    huey.storage.conn.incr("done")
    return a / b


@huey.task()
def add(a, b):
    if b == 0:
        divide(a, b)
    huey.storage.conn.incr("done")
    return a + b


if __name__ == "__main__":
    # As another program would, by the name under which the consumer knows them.
    from tests.live.apps import not_instrumented

    for number in map(int, sys.argv[1:]):
        not_instrumented.add(number, number)
    # A busy machine may not deliver everything in the second of a process' end.
    provider = trace.get_tracer_provider()
    if hasattr(provider, "force_flush"):
        provider.force_flush()
