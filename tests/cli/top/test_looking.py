"""Looking at queues each second, on a thread of its own."""

import threading

import pytest

from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel.cli.target import Queues
from huey_otel.cli.top.looking import Looking
from huey_otel.cli.top.queue import Queue


def test_what_ends_the_thread_is_raised_where_its_snapshots_are_read(monkeypatch):
    def seen(_queue):
        raise ZeroDivisionError

    monkeypatch.setattr(Queue, "seen", seen)
    woken = threading.Event()
    target = Queues(RedisEventEmitter(url="redis://localhost:1"), ("shop",))

    with Looking(target) as looking:
        looking.begin(1.0, woken.set)
        assert woken.wait(60)
        with pytest.raises(ZeroDivisionError):
            looking.latest(0)
