"""Forks: what a child must make anew, and what must not go on while one happens."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from huey_otel import _names as n
from huey_otel._guard import guarded
from huey_otel._losses import LOSSES

_PATIENCE: Final = 1.0
"""Seconds that a fork waits for a sink or a collector, before it goes on."""


class Exclusion:
    """What takes foreign locks holds this, so that no fork happens meanwhile.

    A child would inherit such a lock taken, for ever: prometheus_client has no
    handling of forks. A fork waits at most a second.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with a lock that nobody holds, as a forked child must."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def hold(self) -> bool:
        """Take it for a fork; False, and a log line, if that took too long."""
        held = self._lock.acquire(timeout=_PATIENCE)
        if held:
            LOSSES.recovered("fork")
        else:
            LOSSES.count(
                n.LOSS_INTERNAL,
                0,
                streak="fork",
                why=f"a collector or sink held up a fork for {_PATIENCE:g} s,"
                " the child may inherit a lock of it",
            )
        return held

    def release(self) -> None:
        """Let the others go on after the fork."""
        self._lock.release()


EXCLUSION: Final = Exclusion()

_held: list[bool] = []
_renewals: list[weakref.WeakMethod[Callable[[], Any]]] = []
_registered: list[bool] = []


def in_child(renew: Callable[[], Any]) -> None:
    """Call the bound method *renew* in each child forked while its object lives."""
    if not _registered:
        _registered.append(True)
        os.register_at_fork(
            before=_before, after_in_parent=_in_parent, after_in_child=_in_child
        )
    _renewals[:] = [known for known in _renewals if known() is not None]
    _renewals.append(weakref.WeakMethod(renew))


def _before() -> None:
    _held.append(EXCLUSION.hold())


def _in_parent() -> None:
    if _held.pop():
        EXCLUSION.release()


def _in_child() -> None:
    _held.clear()
    EXCLUSION.renew()
    LOSSES.reset()
    for known in _renewals:
        renew = known()
        if renew is not None:
            guarded(renew)()
