"""A user's own classes: what they add keeps working, what cannot work is undone."""

import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.consumer import Consumer, Worker
from huey.storage import MemoryStorage

from huey_otel import instrument


class WideHuey(MemoryHuey):
    """Takes more than huey does, and returns what huey does not."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.got = []

    def enqueue(self, task, lane=None):
        self.got.append(("lane", lane))
        return super().enqueue(task)

    def put_result(self, key, data, ttl=None):
        self.got.append(("ttl", ttl))
        return super().put_result(key, data)

    def add_schedule(self, task):
        super().add_schedule(task)
        return "scheduled"

    def execute(self, task, timestamp=None, *, trial=False):
        self.got.append(("trial", trial))
        return super().execute(task, timestamp)


def test_arguments_and_results_of_a_users_methods_pass():
    huey = WideHuey("wide")

    @huey.task()
    def add(a, b):
        return a + b

    with instrument(huey):
        huey.enqueue(add.s(1, 2), lane="fast")
        value = huey.execute(huey.dequeue(), trial=True)
        huey.put_result("key", 1, ttl=60)
        scheduled = huey.add_schedule(add.s(3, 4))

    assert (value, scheduled) == (3, "scheduled")
    assert huey.got == [
        ("lane", "fast"),
        ("trial", True),
        ("ttl", None),
        ("ttl", 60),
    ]


class OwnWorker(Worker):
    def loop(self, now=None, *, extra=None):
        return ("looped", now, extra)


class OwnConsumer(Consumer):
    worker_class = OwnWorker

    def check_worker_health(self, verbose=None):
        return ("healthy", super().check_worker_health(), verbose)


def test_arguments_and_results_of_a_users_consumer_pass():
    class ConsumedHuey(MemoryHuey):
        def create_consumer(self, **options):
            return OwnConsumer(self, **options)

    huey = ConsumedHuey("consumed")

    with instrument(huey):
        consumer = huey.create_consumer(workers=1)
        worker, _ = consumer.worker_threads[0]
        looped = worker.loop(1, extra=2)

    assert looped == ("looped", 1, 2)
    assert type(consumer) is OwnConsumer
    assert type(worker) is OwnWorker


class Strict(Huey):
    """Cannot be subclassed without an argument of its own."""

    storage_class = MemoryStorage

    def __init_subclass__(cls, *, flavour, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.flavour = flavour


def test_a_class_that_cannot_be_subclassed_is_left_as_it_was():
    huey = Strict("strict")
    before = (type(huey), type(huey.storage), type(huey.serializer), vars(huey).copy())

    with pytest.raises(TypeError, match="flavour"):
        instrument(huey)

    after = (type(huey), type(huey.storage), type(huey.serializer), vars(huey))
    assert after == before


@pytest.mark.parametrize("back", ["enqueue", "add_schedule"])
def test_a_message_put_back_by_hand_is_not_in_flight(huey, seen, back):
    @huey.task()
    def nothing(): ...

    nothing()
    getattr(huey, back)(huey.dequeue())

    assert seen.ends == []
    assert seen.each_message_has_one_end()
