"""Interruptions: an exception, or a call of a signal handler, in any line of ours."""

import linecache
import signal
import sys

import huey_otel

_WHERE_NO_SIGNAL_IS_HANDLED = (
    *("with ", "try:", "self._flushing ="),
    *("here.outgoing, here.depth =", "mine, here.outgoing ="),
)
"""Lines where a trace function can raise, but no signal handler of Python."""


class Interruption:
    """Raises *error* in the line number *at* of our own code that is run.

    Only in modules that have one of *names*, if there are any.
    """

    def __init__(self, at, error, *names):
        self._left = at
        self._error = error
        self._ours = huey_otel.__path__[0]
        self._files = tuple(f"/{name}.py" for name in names) or (".py",)

    def __enter__(self):
        # Coverage has a trace function too.
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    @property
    def happened(self):
        return self._left < 0

    def _called(self, frame, _event, _arg):
        name = frame.f_code.co_filename
        ours = name.startswith(self._ours) and name.endswith(self._files)
        return self._line if ours and self._left >= 0 else None

    def _line(self, frame, event, _arg):
        if event == "line":
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if text.strip().startswith(_WHERE_NO_SIGNAL_IS_HANDLED):
                return self._line
            self._left -= 1
            if self._left == -1:
                sys.settrace(None)
                self._happens(frame)
        return self._line

    def _happens(self, frame):
        raise self._error


class Alarm(Interruption):
    """Lets SIGALRM's handler see the line number *at* of our own code that is run."""

    def __init__(self, at, *names):
        super().__init__(at, None, *names)

    def _happens(self, frame):
        ring(frame)


def ring(frame):
    """Call SIGALRM's handler as if the alarm had rung at *frame*."""
    signal.getsignal(signal.SIGALRM)(signal.SIGALRM, frame)
