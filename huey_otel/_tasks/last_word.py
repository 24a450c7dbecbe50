"""The last word: whether anything may follow the end of a run, before it is left."""

from types import FunctionType
from typing import Any, Final

import huey.api
from huey.api import Huey, Task
from huey.signals import SIGNAL_COMPLETE

from huey_otel._safety.swapping import class_below


def is_last_word(huey: Huey, task: Task) -> bool:
    """Whether nothing but the end of its attempt follows the success of *task*.

    In *huey*'s own code nothing does; a subclass, or who has patched huey, may go
    on as long as he likes.
    """
    if task.on_complete is not None or getattr(task, "chord_config", None):
        return False
    return not _is_heard(huey, SIGNAL_COMPLETE) and _is_hueys_own(huey)


def in_chord(task: Task | None) -> bool:
    """Whether *task*, or the end of the pipeline it begins, is a member of a chord."""
    while task is not None:
        if getattr(task, "chord_config", None) is not None:
            return True
        task = task.on_complete
    return False


def _is_heard(huey: Huey, signal: str) -> bool:
    receivers = huey._signal.receivers
    return bool(receivers["any"] or receivers.get(signal))


def _is_hueys_own(huey: Huey) -> bool:
    kind: Any = type(huey)
    below: Any = class_below(huey)
    return (
        kind._execute is _INNER
        and below.execute is _OUTER
        and below._emit is _EMIT
        and "_execute" not in vars(huey)
    )


def _own(name: str) -> object:
    """Huey's own method, or what no method is if somebody has patched it already."""
    method = vars(Huey)[name]
    ours = type(method) is FunctionType and method.__globals__ is vars(huey.api)
    return method if ours else _own


_OUTER: Final = _own("execute")
_INNER: Final = _own("_execute")
_EMIT: Final = _own("_emit")
