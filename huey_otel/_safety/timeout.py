"""Exceptions of the application that arrive in our code: timeouts and interrupts.

huey 3 raises a task's TaskTimeout by SIGALRM, so at any bytecode, or by gevent, at
any switch. Our own code is not cut by it: `limited` looks where the alarm found the
task, and what it found in our code is raised as soon as that is left.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import partial
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

from huey_otel._safety.greenlets import patched

T = TypeVar("T")


class TimeLimit:
    """The time of one task, of which the alarm rings once. *strike* raises.

    It began to run in *frame*.
    """

    def __init__(self, strike: Callable[[], object], frame: FrameType) -> None:
        self.strike = strike
        self._frame: FrameType | None = frame
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._frame = None
        if OVERDUE.pop(self._thread, None) is not None and kind is None:
            self.strike()

    def rings(self, frame: FrameType | None) -> bool:
        """True: raise at *frame*, where the task is. False: once our code is left."""
        where = self._where(frame)
        if where is not _Where.OUTSIDE:
            OVERDUE[self._thread] = self
        return where is not _Where.OURS

    def strikes(self, frame: FrameType) -> bool:
        """True: raise now, as *frame*, to which a call of ours returns, is not ours."""
        where = self._where(frame)
        if where is _Where.OUTSIDE:
            OVERDUE.pop(self._thread, None)
        return where is not _Where.OURS

    def _where(self, frame: FrameType | None) -> "_Where":
        foreign = importing = False
        while frame is not None and frame is not self._frame:
            if frame.f_code in UNCUT:
                return _Where.OURS
            if frame.f_code in GUARDS:
                # A module of which the import is cut cannot always be imported again.
                others = foreign and not importing
                return _Where.OTHERS if others else _Where.OURS
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            importing = importing or package in _IMPORTS
            foreign = foreign or not (
                package in _NOT_FOREIGN or package.startswith(_NAMED_TUPLE)
            )
            frame = frame.f_back
        return _Where.OUTSIDE


class _Where(Enum):
    """What runs: our code, others' code that ours has called, or neither."""

    OURS = auto()
    OTHERS = auto()
    OUTSIDE = auto()


GUARDS: Final[set[CodeType]] = set()
"""The code by which our code is entered, see `guarded`."""

UNCUT: Final[set[CodeType]] = set()
"""Code of ours that is not cut in others' code that it calls either: that is short."""

OVERDUE: Final[dict[int, TimeLimit]] = {}
"""The limits that were reached in our code and not raised yet, by thread."""

# In the standard library and in prometheus_client we wait for nothing but ourselves. A
# count that is cut is lost, and may leave its lock locked (CPython 3.14). Handlers of
# logs are others', and gevent has a frame wherever a greenlet waits.
_OURS: Final = {"huey_otel", "gevent", "prometheus_client"}
_NOT_FOREIGN: Final = {*sys.stdlib_module_names, *_OURS} - {"logging"}
_IMPORTS: Final = {"importlib", "_frozen_importlib", "_frozen_importlib_external"}
_NAMED_TUPLE: Final = "namedtuple_"

_AGAIN: Final = 0.01
"""Seconds until the next look at a task whose alarm has found our code.

That may be in the code of others by then, and stay there for long.
"""


def limited(handler: Callable[[float], Any]) -> Callable[[float], Any]:
    """*handler*, huey's `_timeout_handler`, so that it does not cut our code."""
    from huey import consumer

    # A function up to huey 3.4, a method from 3.5 on.
    method = getattr(consumer.GreenletEnvironment, "timeout", None)
    of_greenlets = getattr(consumer, "greenlet_timeout", method)
    if getattr(handler, "__func__", handler) is of_greenlets and patched():
        return _limit_of_greenlet
    return partial(_limit_by_signal, handler)


@contextlib.contextmanager
def _limit_by_signal(handler: Callable[[float], Any], seconds: float) -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    with handler(seconds):
        theirs: Any = signal.getsignal(signal.SIGALRM)
        if (
            theirs is before
            or threading.current_thread() is not threading.main_thread()
        ):
            # Worker threads have no timeouts.
            yield
            return

        again = False

        def ring(signum: int, frame: FrameType | None) -> None:
            nonlocal again
            again = not limit.rings(frame)
            if again:
                signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            else:
                theirs(signum, frame)

        def strike() -> None:
            if again:
                signal.setitimer(signal.ITIMER_REAL, 0)
            theirs(signal.SIGALRM, None)

        limit = TimeLimit(strike, sys._getframe(2))
        with limit:
            signal.signal(signal.SIGALRM, ring)
            yield


@contextlib.contextmanager
def _limit_of_greenlet(seconds: float) -> Iterator[None]:
    # In place of huey's (3.5), which strikes in our code as well, and does not say
    # where it has struck.
    import gevent
    from huey.exceptions import TaskTimeout

    def strike() -> None:
        again.stop()
        raise error

    def ring() -> None:
        # In gevent's hub, so the task is where it has switched to that.
        if limit.rings(greenlet.gr_frame):
            again.stop()
            greenlet.throw(error)
        elif not again.active:
            again.start(ring)

    error = TaskTimeout(f"timeout ({seconds}s)")
    greenlet: Any = gevent.getcurrent()
    loop: Any = gevent.get_hub().loop
    timer, again = loop.timer(seconds), loop.timer(_AGAIN, _AGAIN)
    limit = TimeLimit(strike, sys._getframe(2))
    with limit:
        timer.start(ring)
        try:
            yield
        finally:
            timer.close()
            again.close()


def waits(error: Exception, frame: FrameType) -> bool:
    """Whether *error* is raised later, as *frame*, which called ours, is our own."""
    if not _is_timeout(error):
        return False
    limit = OVERDUE.get(threading.get_ident())
    return limit is not None and not limit.strikes(frame)


def raise_what_is_overdue() -> None:
    """Raise the timeout that has waited, unless our own code has called the guard."""
    limit = OVERDUE.get(threading.get_ident())
    if limit is not None and limit.strikes(sys._getframe(2)):
        limit.strike()


def is_the_applications(error: BaseException) -> bool:
    """Whether *error*, raised in our code, is for the task that called it.

    A task's timeout is, and the exception of a signal handler, such as a TimeoutError
    at SIGALRM, which may be raised at any bytecode.
    """
    if _is_timeout(error):
        return True
    handlers = _handlers()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _is_timeout(error: BaseException) -> bool:
    # huey 2 has no timeouts, and a reader of events does not import huey.
    kind: Any = getattr(sys.modules.get("huey.exceptions"), "TaskTimeout", ())
    return isinstance(error, kind)


def or_else(make: Callable[[], T], fallback: Callable[[Exception], T]) -> T:
    """What *make* returns, or *fallback* of the exception that it raised."""
    try:
        return make()
    except Exception as error:
        if is_the_applications(error):
            raise
        return fallback(error)


def _handlers() -> set[object]:
    """The code of all signal handlers in Python."""
    handlers = map(signal.getsignal, signal.valid_signals())
    functions = [getattr(handler, "__func__", handler) for handler in handlers]
    return {getattr(function, "__code__", None) for function in functions} - {None}
