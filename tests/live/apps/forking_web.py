"""A web application whose server forks, before or after it was used."""

import json
import os
import sys
import time

from huey import RedisHuey

from huey_otel import instrument
from tests.live.apps.patience import be_patient

be_patient()
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)


@huey.task()
def add(a, b):
    return a + b


def application(_environ, start_response):
    task = add(os.getpid(), 1)
    # A request at the same time gets another process.
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"id": task.id, "pid": os.getpid()}).encode()]


def enqueue(number):
    for _ in range(number):
        add(os.getpid(), 1)


if "LIVE_USED" in os.environ:
    enqueue(10)
    if "LIVE_FLUSH" in os.environ:
        instrumentation.flush()

if __name__ == "__main__":
    import multiprocessing

    from tests.live.apps import forking_web

    context = multiprocessing.get_context(sys.argv[1])
    children = [
        context.Process(target=forking_web.enqueue, args=(25,)) for _ in range(4)
    ]
    for child in children:
        child.start()
    forking_web.enqueue(25)
    for child in children:
        child.join()
    sys.exit(max(child.exitcode for child in children))
