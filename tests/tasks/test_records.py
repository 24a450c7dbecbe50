"""Which records a task's life makes, and when each is sent."""

import contextlib
import threading

import huey as huey_package
import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.constants import WORKER_THREAD
from huey.signals import SIGNAL_COMPLETE, SIGNAL_EXECUTING

from huey_otel._tasks.attempt import running, unfinished
from huey_otel._tasks.context import HERE
from tests.support.interruptions import Interruption
from tests.support.recorded import LATER, Drain, Recorded

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
def test_success_does_not_wait_for_the_code_of_a_subclass(name):
    heard = []

    class GoingOn(MemoryHuey):
        def _after(self, *arguments):
            result = getattr(super(), name)(*arguments)
            heard.append(told(seen))
            return result

    setattr(GoingOn, name, GoingOn._after)
    huey = GoingOn("my-app")
    seen, drain = Recorded(huey), Drain(huey)

    @huey.task()
    def send(): ...

    send()
    drain()

    assert heard[-1] == ["started", "finished"]
    assert told(seen) == TWO_RECORDS


@pytest.mark.parametrize("of", ["class", "object"])
def test_success_does_not_wait_for_the_code_of_a_patch(
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


EXECUTING = (
    *("_hooks/executing", "_tasks/execute", "_tasks/tracing"),
    *("_tasks/attempt", "_tasks/recorder"),
)


def assert_nothing_is_left():
    here = HERE.local.doing
    left = here.attempts, here.depth, here.outgoing, here.requeued, running
    assert left == ([], 0, None, None, {})
    assert {*unfinished.values()} <= {here.popped}


def ends_of_this(seen, tries, unsaid):
    """The ends of the last try; the relay closes an unsaid one as the next starts."""
    return seen.ends[1:] if unsaid[-1:] == [len(tries) - 1] else seen.ends


@pytest.mark.parametrize("kept", [True, False], ids=["one", "two"])
def test_an_interrupt_after_a_body_costs_no_more_than_its_attempt(
    huey, seen, kept, losses
):
    # huey 2.x ends worker processes so, wherever they are.
    wrong = []
    unsaid = []
    tries = []
    if not kept:
        huey.signal(SIGNAL_COMPLETE)(lambda *_: None)

    @huey.post_execute()
    def begin(*_):
        tries[-1].__enter__()

    @huey.task()
    def send(): ...

    while not tries or tries[-1].happened:
        tries.append(Interruption(len(tries), KeyboardInterrupt(), *EXECUTING))
        seen.clear()
        send()
        task = huey.dequeue()
        with contextlib.suppress(KeyboardInterrupt):
            huey.execute(task)
        tries[-1].__exit__()
        # What its worker does next, if it lives.
        huey.dequeue()
        ends = ends_of_this(seen, tries, unsaid)
        if not ends:
            unsaid.append(len(tries))
        elif ends not in ([("success",) * 2], [("interrupted",) * 2]):
            wrong.append((len(tries), ends))
        assert_nothing_is_left()

    assert len(tries) > 30
    assert wrong == []
    # Interrupted right before the last record.
    assert len(unsaid) <= 2
    assert losses.counts().get("interrupted", 0) == len(unsaid)


def test_an_interrupt_at_the_begin_costs_no_more_than_its_attempt(huey, seen, losses):
    wrong = []
    unsaid = []
    tries = []

    @huey.task()
    def send(): ...

    while not tries or tries[-1].happened:
        tries.append(Interruption(len(tries), KeyboardInterrupt(), *EXECUTING))
        seen.clear()
        send()
        task = huey.dequeue()
        with contextlib.suppress(KeyboardInterrupt), tries[-1]:
            huey.execute(task)
        huey.dequeue()
        statuses, ends = told(seen), ends_of_this(seen, tries, unsaid)
        if statuses and not ends:
            unsaid.append(len(tries))
        if len(ends) > 1 or statuses.count("started") > 1:
            wrong.append((len(tries), statuses, ends))
        assert_nothing_is_left()

    assert len(tries) > 80
    assert wrong == []
    assert len(unsaid) <= 2
    assert losses.counts().get("interrupted", 0) == len(unsaid)


class Failing(MemoryHuey):
    """Fails once it has told everybody of a success."""

    def _emit(self, signal, task, *args, **kwargs):
        super()._emit(signal, task, *args, **kwargs)
        if signal == SIGNAL_COMPLETE:
            raise OSError("down")


def test_an_error_after_a_success_is_recorded_behind_it():
    huey = Failing("my-app")
    seen, drain = Recorded(huey), Drain(huey)

    @huey.task()
    def send(): ...

    send()
    (error,) = drain()

    assert str(error) == "down"
    assert told(seen) == ["started", "finished", "error-internal", "ended"]
    assert seen.ends == [("success", "success")]


def test_the_message_that_a_thread_has_popped_is_lost_with_its_process(huey, seen):
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


def test_the_message_that_a_dead_scheduler_held_is_lost_once(huey, seen, drain):
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
        names = ("_hooks/executing", "dequeue", "execute", "tracing")
        super().__init__(at, None, *names)
        self._workers = workers

    def _happens(self, _frame):
        self._workers.abandon()


@pytest.mark.parametrize("semconv_metrics", [False, True])
def test_a_thread_at_work_when_the_process_ends_has_one_end(semconv_metrics):
    wrong = []
    at = 0
    while True:
        huey = MemoryHuey("my-app")
        seen, drain = Recorded(huey, semconv_metrics=semconv_metrics), Drain(huey)
        huey.task(name="send")(lambda: None)()
        workers = huey._huey_otel.workers
        workers._recorder.worker_type = WORKER_THREAD
        # With huey 2 it looks for a consumer among all objects.
        huey._huey_otel.alone = False
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
