"""Routes: the records of a huey go to its sinks, whatever one of them does."""

from huey_otel._relay.relay import Route, Routes
from huey_otel._wire.record import Record, Source, TaskFacts

SOURCES = {
    number: Source(queue=f"q{number}", host="h", worker_type="thread")
    for number in (1, 2)
}
FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))


class Sink:
    """Keeps what it gets, and raises *error* after that."""

    def __init__(self, error=None):
        self.got = []
        self._error = error

    def __call__(self, record, source):
        self.got.append((record.status, source.queue))
        if self._error:
            raise self._error


def record(status, *, source=1, pid=7, key=1):
    return Record(source, status, 1.0, pid, key, "Worker-1", FACTS, 0, None)


def routed(**sinks):
    routes = Routes()
    for number, some in ((1, sinks.get("first")), (2, sinks.get("second"))):
        if some is not None:
            routes.add(number, Route(SOURCES[number], some))
    return routes


def test_each_huey_has_its_own_sinks():
    first, second = Sink(), Sink()
    routes = routed(first=(first,), second=(second,))

    routes.deliver(record("started"))
    routes.deliver(record("finished", source=2))

    assert first.got == [("started", "q1")]
    assert second.got == [("finished", "q2")]


def test_a_broken_sink_does_not_stop_the_next_one(losses):
    broken, sound = Sink(RuntimeError("sink down")), Sink()
    routes = routed(first=(broken, sound))

    routes.deliver(record("started"))
    routes.deliver(record("ended"))

    assert broken.got == sound.got
    assert len(sound.got) == 2
    assert losses.counts() == {"internal": 2}


def test_the_records_of_a_removed_huey_go_nowhere():
    sink = Sink()
    routes = routed(first=(sink,))

    routes.remove(1)
    routes.remove(1)
    routes.deliver(record("started"))

    assert sink.got == []


def test_a_lost_task_goes_to_the_sinks_of_its_own_huey():
    first, second = Sink(), Sink()
    routes = routed(first=(first,), second=(second,))

    routes.deliver(record("started", source=2))
    routes.deliver(record("gone", source=1, key=0))

    assert first.got == [("gone", "q1")]
    assert second.got == [("started", "q2"), ("lost", "q2")]


def test_an_end_that_was_interrupted_is_a_loss_of_its_queue(losses):
    sink = Sink()
    routes = routed(second=(sink,))
    following = record("started", source=2, key=2)._replace(extra={"after": 1})

    routes.deliver(record("started", source=2))
    routes.deliver(following)

    assert sink.got == [("started", "q2"), ("started", "q2"), ("ended", "q2")]
    assert losses.by_queue() == {("q2", "interrupted"): 1}


def test_a_child_has_nothing_in_flight():
    sink = Sink()
    routes = routed(first=(sink,))
    routes.deliver(record("started"))

    routes.forget_in_flight()
    routes.deliver(record("gone", key=0))

    assert [status for status, _ in sink.got] == ["started", "gone"]
