"""The records that a task's life takes: as few as say all, and none too late."""

import contextlib
import threading

import huey as huey_package
import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.constants import WORKER_THREAD
from huey.signals import SIGNAL_COMPLETE, SIGNAL_EXECUTING

from huey_otel._tasks.attempt import unfinished
from huey_otel._tasks.context import HERE
from tests.support.interruptions import Interruption
from tests.support.seen import LATER, Drain, Seen

ONE_RECORD = ["started", "finished"]
TWO_RECORDS = ["started", "finished", "ended"]


def told(seen):
    """The statuses of all records of attempts."""
    return [record.status for record in seen.records if record.key]


def test_success_and_the_end_of_an_attempt_are_one_record(huey, seen, drain):
    @huey.task()
    def send():
        return 1

    send()
    drain()

    *_, ending = seen.records
    assert told(seen) == ONE_RECORD
    assert ending.extra == {
        "outcome": "success",
        "final": "success",
        "duration": ending.extra["duration"],
    }
    assert set(seen.published[-1]) >= {"duration"}
    assert set(seen.published[-1]).isdisjoint({"outcome", "final"})


def test_a_receiver_of_another_signal_changes_nothing_of_that(huey, seen, drain):
    huey.signal(SIGNAL_EXECUTING)(lambda *_: None)

    @huey.task()
    def send(): ...

    send()
    drain()

    assert told(seen) == ONE_RECORD


@pytest.mark.parametrize("signals", [[], [SIGNAL_COMPLETE]], ids=["all", "complete"])
def test_success_does_not_wait_for_a_users_receiver(huey, seen, drain, signals):
    before = []

    @huey.signal(*signals)
    def received(signal, _task):
        if signal == SIGNAL_COMPLETE:
            before.extend(told(seen))

    @huey.task()
    def send(): ...

    send()
    drain()

    assert before == ["started", "finished"]
    assert told(seen) == TWO_RECORDS
    assert seen.ends == [("success", "success")]


def test_success_does_not_wait_for_the_next_of_a_pipeline(huey, seen, drain):
    @huey.task()
    def send(*_):
        return 1

    huey.enqueue(send.s().then(send))
    drain()

    assert told(seen) == [*TWO_RECORDS, *ONE_RECORD]


@pytest.mark.skipif(not hasattr(huey_package, "chord"), reason="huey has no chords")
def test_success_of_a_chords_member_does_not_wait_for_its_callback(huey, seen, drain):
    @huey.task()
    def send(*_):
        return 1

    huey.enqueue(huey_package.chord([send.s()], send.s()))
    drain()

    assert told(seen) == [*TWO_RECORDS, *ONE_RECORD]


@pytest.mark.parametrize("name", ["execute", "_execute", "_emit"])
def test_success_does_not_wait_for_what_a_subclass_does_next(name):
    heard = []

    class GoingOn(MemoryHuey):
        def _after(self, *arguments):
            result = getattr(super(), name)(*arguments)
            heard.append(told(seen))
            return result

    setattr(GoingOn, name, GoingOn._after)
    huey = GoingOn("my-app")
    seen, drain = Seen(huey), Drain(huey)

    @huey.task()
    def send(): ...

    send()
    drain()

    assert heard[-1] == ["started", "finished"]
    assert told(seen) == TWO_RECORDS


@pytest.mark.parametrize("of", ["class", "object"])
def test_success_does_not_wait_for_who_has_patched_huey(
    huey, seen, drain, monkeypatch, of
):
    heard = []
    before = Huey._execute

    def patched(self, *arguments):
        result = before(self, *arguments)
        heard.extend(told(seen))
        return result

    if of == "class":
        monkeypatch.setattr(Huey, "_execute", patched)
    else:
        monkeypatch.setattr(huey, "_execute", patched.__get__(huey))

    @huey.task()
    def send(): ...

    send()
    drain()

    assert heard == ["started", "finished"]
    assert told(seen) == TWO_RECORDS


@pytest.mark.parametrize("kept", [True, False], ids=["one", "two"])
def test_an_interrupt_after_a_body_leaves_it_one_end(huey, seen, kept):
    # huey 2.x ends worker processes so, wherever they are.
    wrong = []
    tries = []
    if not kept:
        huey.signal(SIGNAL_COMPLETE)(lambda *_: None)

    @huey.post_execute()
    def begin(*_):
        tries[-1].__enter__()

    @huey.task()
    def send(): ...

    while not tries or tries[-1].happened:
        files = (
            *("_hooks/executing", "_tasks/execute", "_tasks/tracing"),
            *("_tasks/last_word", "_tasks/attempt"),
        )
        tries.append(Interruption(len(tries), KeyboardInterrupt(), *files))
        seen.clear()
        send()
        task = huey.dequeue()
        with contextlib.suppress(KeyboardInterrupt):
            huey.execute(task)
        tries[-1].__exit__()
        if seen.ends not in ([("success",) * 2], [("interrupted",) * 2]):
            wrong.append((len(tries), seen.ends))
        assert HERE.doing.attempts == []

    assert len(tries) > 30
    assert wrong == []


def test_what_is_interrupted_at_its_begin_is_counted_at_both_ends(huey, seen):
    wrong = []
    tries = []

    @huey.task()
    def send(): ...

    while not tries or tries[-1].happened:
        files = ("_tasks/execute", "_tasks/tracing", "_tasks/attempt")
        tries.append(Interruption(len(tries), KeyboardInterrupt(), *files))
        seen.clear()
        send()
        task = huey.dequeue()
        with contextlib.suppress(KeyboardInterrupt), tries[-1]:
            huey.execute(task)
        statuses = told(seen)
        runs = [outcome for outcome, _ in seen.ends if outcome is not None]
        # Nothing at all is told of what nobody has taken up yet.
        if (statuses.count("started"), len(seen.ends)) not in ((len(runs), 1), (0, 0)):
            wrong.append((len(tries), statuses, seen.ends))

    assert len(tries) > 80
    assert wrong == []


class Failing(MemoryHuey):
    """Fails once it has told everybody of a success."""

    def _emit(self, signal, task, *args, **kwargs):
        super()._emit(signal, task, *args, **kwargs)
        if signal == SIGNAL_COMPLETE:
            raise OSError("down")


def test_what_comes_after_a_success_is_told_behind_it():
    huey = Failing("my-app")
    seen, drain = Seen(huey), Drain(huey)

    @huey.task()
    def send(): ...

    send()
    (error,) = drain()

    assert str(error) == "down"
    assert told(seen) == ["started", "finished", "error-internal", "ended"]
    assert seen.ends == [("success", "success")]


def test_what_a_thread_has_popped_is_lost_with_its_process(huey, seen):
    @huey.task()
    def send(): ...

    send()
    send()
    task = huey.dequeue()
    before = told(seen)
    workers = huey._huey_otel.workers
    workers._recorder.worker_type = WORKER_THREAD
    workers.abandon()

    lost = [record for record in seen.records if record.status == "lost"]
    assert before == []
    assert told(seen) == ["dequeued", "lost"]
    assert [(record.facts[0], record.extra) for record in lost] == [(task.id, {})]
    assert unfinished == {}


def test_what_a_dead_scheduler_held_is_lost_once(huey, seen, drain):
    @huey.task()
    def send(): ...

    send.schedule(delay=100)
    drain()
    seen.clear()
    workers = huey._huey_otel.workers
    workers._recorder.worker_type = WORKER_THREAD
    consumer = huey.create_consumer(workers=1)
    consumer.scheduler = threading.Thread(target=huey.read_schedule, args=(LATER,))
    consumer.scheduler.start()
    consumer.scheduler.join()
    workers.before_check(consumer)
    workers.before_check(consumer)
    workers.abandon()

    assert told(seen) == ["dequeued", "lost"]
    assert unfinished == {}


class Ending(Interruption):
    """Ends the process, as far as its telemetry goes, while a thread is at work."""

    def __init__(self, at, workers):
        tasks = ("_tasks/execute", "_tasks/dequeue", "_tasks/tracing")
        super().__init__(at, None, "_hooks/executing", *tasks)
        self._workers = workers

    def _happens(self):
        self._workers.abandon()


@pytest.mark.parametrize("semconv_metrics", [False, True])
def test_a_thread_at_work_when_the_process_ends_has_one_end(semconv_metrics):
    wrong = []
    at = 0
    while True:
        huey = MemoryHuey("my-app")
        seen, drain = Seen(huey, semconv_metrics=semconv_metrics), Drain(huey)
        huey.task(name="send")(lambda: None)()
        workers = huey._huey_otel.workers
        workers._recorder.worker_type = WORKER_THREAD
        with Ending(at, workers) as ending:
            drain()
        statuses = told(seen)
        ends = len(seen.ends) + statuses.count("lost")
        popped = bool(statuses)
        if ends != popped or statuses.count("dequeued") > 1 or unfinished:
            wrong.append((at, statuses))
        seen.instrumentation.uninstrument()
        if not ending.happened:
            break
        at += 1

    assert at > 100
    assert wrong == []
