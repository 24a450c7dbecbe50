"""A queue on SQLite whose events go to a Redis of their own."""

import logging
import os
import time

from huey import SqliteHuey

from huey_otel import RedisEventEmitter, instrument
from tests.live.apps.losses import report_at_exit

# The errors below are meant, and large.
logging.getLogger("huey").disabled = True

huey = SqliteHuey("live", filename=os.environ["LIVE_DATABASE"], fsync=False)
instrumentation = instrument(
    huey, events=RedisEventEmitter(url=os.environ["LIVE_EVENTS_URL"])
)


report_at_exit(instrumentation)


@huey.task()
def work(size):
    time.sleep(0.01)
    end = os.open(os.environ["LIVE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, f"{time.time()}\n".encode())
    finally:
        os.close(end)
    if size:
        raise ValueError("x" * size)
