"""Lets a process that only enqueues wait at its end for LIVE_PRODUCER_EXIT seconds.

It waits for one, in which a busy machine may not have delivered everything.
"""

import os


def be_patient() -> None:
    """Call it before `instrument`."""
    if "LIVE_PRODUCER_EXIT" in os.environ:
        from huey_otel._tasks import consumer

        seconds = float(os.environ["LIVE_PRODUCER_EXIT"])
        consumer.PRODUCER_EXIT = seconds
