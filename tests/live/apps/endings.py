"""Tasks that end in ways that huey does not signal.

The queue's Redis forbids the consumer a command now and then, as an access
list or a full memory would.
"""

import inspect
import os
import sys

from huey import Huey, RedisHuey

from huey_otel import instrument

# huey 2 always stores the error of an attempt that is retried, huey 3 on request.
STORING = "store_intermediate_errors"
options = {STORING: True} if STORING in inspect.signature(Huey).parameters else {}

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"], **options)
instrumentation = instrument(huey)


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


class StopEverything(BaseException):
    pass


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def give_a_function():
    return lambda: None


@huey.task(retries=1)
def fail(word):
    raise ValueError(word)


@huey.task(retries=1, retry_delay=60)
def fail_and_wait(word):
    raise ValueError(word)


@huey.task(retries=1)
def fail_unpicklably():
    raise UnpicklableError("no")


@huey.task(retries=1)
def leave():
    sys.exit(3)


@huey.task(retries=1)
def stop_everything():
    raise StopEverything


@huey.task()
def handle(error):
    return str(error)


@huey.task()
def enqueue_more():
    add(1, 2)


# A task that the consumer does not know.
if "LIVE_STRANGER" in os.environ:

    @huey.task()
    def stranger():
        return True
