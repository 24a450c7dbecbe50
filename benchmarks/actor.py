"""A process of the measured application: `consumer KIND WORKERS`, or `producer`."""

import os
import signal
import sys
import threading
import time

from benchmarks import app
from benchmarks.children import Answer, answer


def enqueue(workers: int, milliseconds: float, number: int) -> None:
    """Enqueue a round: a gate for each worker, *number* tasks, and the mark."""
    for _ in range(workers):
        app.gate()
    for _ in range(number):
        app.work(milliseconds)
    app.mark()


def settle() -> Answer:
    """Deliver all telemetry; return the CPU seconds of this process so far."""
    app.watched.settle()
    return {"cpu": time.process_time()}


def told() -> Answer:
    """What the telemetry has reported and lost."""
    return {"told": app.watched.told(), "lost": app.watched.lost()}


def consume(kind: str, workers: int) -> None:
    """Run huey's consumer until standard input ends."""

    def answering() -> None:
        answer(settle=settle, told=told)
        os.kill(os.getpid(), signal.SIGINT)

    consumer = app.huey.create_consumer(workers=workers, worker_type=kind)
    threading.Thread(target=answering, daemon=True).start()
    consumer.run()


if __name__ == "__main__":
    if sys.argv[1] == "consumer":
        consume(sys.argv[2], int(sys.argv[3]))
    else:
        answer(enqueue=enqueue, settle=settle, told=told)
