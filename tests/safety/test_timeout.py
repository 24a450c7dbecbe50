"""A task's timeout waits for our own code, and for no code of others that we call."""

import importlib
import signal
import sys
import time
from collections.abc import Callable
from types import FunctionType

import huey.exceptions
import pytest
from huey import MemoryHuey

from huey_otel._safety.guard import guarded
from huey_otel._safety.timeout import OVERDUE, limited
from huey_otel._tasks.attempt import running
from huey_otel._tasks.context import HERE
from tests.support.interruptions import Alarm, ring
from tests.support.programs import run_program
from tests.support.recorded import Recorded
from tests.support.timeouts import alarm

TaskTimeout = getattr(huey.exceptions, "TaskTimeout", None)

pytestmark = pytest.mark.skipif(TaskTimeout is None, reason="huey has no timeouts")


def ours(function: Callable[..., object]) -> Callable[..., object]:
    """*function* as if it stood in a module of ours."""
    known = globals() | {"__name__": "huey_otel.made"}
    name, closure = function.__name__, function.__closure__
    return FunctionType(function.__code__, known, name, None, closure)


@pytest.fixture
def block():
    """The time of a task, which is over when `ring` is called."""
    return limited(alarm())(60.0)


def rings():
    ring(sys._getframe(1))


def test_alarm_outside_of_our_code_is_raised_at_once(block):
    with pytest.raises(TaskTimeout, match="60"), block:
        rings()

    assert OVERDUE == {}


def test_alarm_in_our_code_is_raised_when_that_is_left(block):
    steps = []

    @guarded
    @ours
    def work():
        rings()
        steps.append("done")

    def task():
        work()
        steps.append("not reached")

    with pytest.raises(TaskTimeout), block:
        task()

    assert steps == ["done"]
    assert OVERDUE == {}


def test_alarm_in_our_code_waits_for_the_outermost_call(block):
    steps = []

    @guarded
    @ours
    def inner():
        rings()
        steps.append("inner")

    @guarded
    @ours
    def outer():
        inner()
        steps.append("outer")

    with pytest.raises(TaskTimeout), block:
        outer()

    assert steps == ["inner", "outer"]


def test_alarm_in_the_code_of_others_is_raised_there_and_ours_goes_on(block):
    steps = []

    def exporter():
        rings()
        steps.append("not reached")

    @guarded
    @ours
    def inner():
        exporter()
        steps.append("not reached either")

    @guarded
    @ours
    def outer():
        inner()
        steps.append("outer")

    with pytest.raises(TaskTimeout), block:
        outer()

    assert steps == ["outer"]
    assert OVERDUE == {}


def test_alarm_in_our_code_is_raised_in_the_code_of_others_that_comes_next(block):
    steps = []

    def exporter():
        time.sleep(30)
        steps.append("not reached")

    @guarded
    @ours
    def work():
        rings()
        steps.append("ours")
        exporter()

    with pytest.raises(TaskTimeout), block:
        work()

    assert steps == ["ours"]
    assert OVERDUE == {}
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_same_holds_for_greenlets():
    done = run_program(
        """
        from gevent import monkey; monkey.patch_all()
        import time
        from types import FunctionType
        from huey import consumer
        from huey.exceptions import TaskTimeout
        from huey_otel._safety.guard import guarded
        from huey_otel._safety.timeout import OVERDUE, limited

        def exporter():
            time.sleep(30)
            print("not reached")

        def work():
            time.sleep(0.3)
            print("ours")
            exporter()

        known = globals() | {"__name__": "huey_otel.made"}
        work = guarded(FunctionType(work.__code__, known))
        timeout = getattr(consumer, "greenlet_timeout", None)
        timeout = timeout or consumer.GreenletEnvironment().timeout
        try:
            with limited(timeout)(0.05):
                work()
        except TaskTimeout as error:
            print(error, OVERDUE)
        time.sleep(0.1)
        """
    )

    assert (done.stdout.splitlines(), done.stderr) == (
        ["ours", "timeout (0.05s) {}"],
        "",
    )


@pytest.mark.parametrize("then", [None, ValueError("ours")], ids=["well", "failed"])
def test_timeout_that_others_have_swallowed_is_raised_when_our_code_is_left(
    block, losses, then
):
    def exporter():
        try:
            rings()
        except Exception:  # noqa: BLE001 - as the SDK
            return

    @guarded
    @ours
    def work():
        exporter()
        if then is not None:
            raise then

    with pytest.raises(TaskTimeout), block:
        work()

    assert OVERDUE == {}


def test_timeout_that_the_task_has_caught_is_not_raised_again(block):
    @guarded
    @ours
    def work():
        return "done"

    with block:
        with pytest.raises(TaskTimeout):
            rings()
        result = work()

    assert result == "done"


def test_timeout_that_has_come_out_is_not_raised_again(block):
    @guarded
    @ours
    def work(alarmed):
        if alarmed:
            rings()
        return "done"

    with block:
        with pytest.raises(TaskTimeout):
            work(1)
        result = work(0)

    assert result == "done"


def test_interrupt_in_our_code_goes_before_a_timeout_that_waits(block):
    @guarded
    @ours
    def work():
        rings()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), block:
        work()

    assert OVERDUE == {}


def test_timeout_that_still_waits_at_the_end_of_the_task_is_raised_there(block):
    @guarded
    @ours
    def work():
        rings()
        raise KeyboardInterrupt

    def task():
        with pytest.raises(KeyboardInterrupt):
            work()

    with pytest.raises(TaskTimeout), block:
        task()


def test_alarm_waits_for_an_import_that_our_code_has_begun(
    block, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    text = "from tests.safety.test_timeout import rings\nrings()\nWHOLE = True\n"
    tmp_path.joinpath("imported_by_us.py").write_text(text)

    @guarded
    @ours
    def work():
        importlib.import_module("imported_by_us")

    with pytest.raises(TaskTimeout), block:
        work()

    assert sys.modules.pop("imported_by_us").WHOLE is True


def test_a_thread_that_has_no_alarm_is_left_alone():
    entered = []

    class Nothing:
        def __enter__(self):
            entered.append(self)

        def __exit__(self, *_):
            entered.append(self)

    with limited(lambda _: Nothing())(60.0):
        pass

    assert len(entered) == 2


def test_the_handler_of_huey_is_its_own_again_after_uninstrument():
    queue = MemoryHuey("my-app")
    handler = alarm()
    queue._timeout_handler = handler

    seen = Recorded(queue)
    wrapped = queue._timeout_handler
    seen.instrumentation.uninstrument()

    assert wrapped is not handler
    assert queue._timeout_handler is handler


def test_huey_that_is_uninstrumented_by_a_task_keeps_its_timeout(huey, seen):
    huey._timeout_handler = alarm()
    reached = []

    @huey.task(timeout=60)
    def task():
        seen.instrumentation.uninstrument()
        ring(sys._getframe())
        reached.append("not honoured")

    task()
    huey.execute(huey.dequeue())

    assert reached == []


def alarmed_everywhere(huey):
    """Run a task that calls another, with an alarm in each line of ours in turn."""
    huey._timeout_handler = alarm()
    alarms = []

    @huey.task()
    def inner():
        return 1

    @huey.task(timeout=60)
    def outer():
        alarms.append(Alarm(len(alarms)))
        with alarms[-1]:
            inner()

    while not alarms or alarms[-1].happened:
        outer()
        if not huey.immediate:
            huey.execute(huey.dequeue())
            huey.storage.flush_queue()
        here = HERE.local.doing
        state = (here.attempts, here.outgoing, here.requeued, here.trailer, running)
        assert state == ([], None, None, None, {}), len(alarms)
        assert OVERDUE == {}
    return len(alarms)


def test_an_alarm_in_any_line_of_ours_ends_the_attempt_once(huey, seen):
    runs = alarmed_everywhere(huey)

    assert runs > 30
    assert [step[0] for step in seen.steps] == [
        *["started", "timeout"] * (runs - 1),
        *["started", "finished"],
    ]
    assert seen.ends == [("timeout", "timeout")] * (runs - 1) + [("success",) * 2]


def test_an_alarm_around_a_nested_run_leaves_nothing_open(huey):
    huey.immediate = True
    seen = Recorded(huey)

    runs = alarmed_everywhere(huey)

    assert runs > 100
    assert seen.each_message_has_one_end()
    statuses = [record.status for record in seen.records]
    assert statuses.count("timeout") >= runs - 1
