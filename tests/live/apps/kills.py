"""A queue whose tasks write a line when they begin and when they end."""

import logging
import os
import time

from huey import RedisHuey

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
report_at_exit(instrumentation)

# The errors below are meant, and large.
logging.getLogger("huey").disabled = True


def write(line):
    """Append *line* to the ledger in one step, beside other writers."""
    end = os.open(os.environ["LIVE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, f"{line}\n".encode())
    finally:
        os.close(end)


@huey.task()
def work(number, seconds):
    write(f"{number} began")
    time.sleep(seconds)
    write(f"{number} ended")
    if number % 10 == 0:
        # Long enough that its event crosses a pipe in several parts.
        raise ValueError(str(number).zfill(10_000))
