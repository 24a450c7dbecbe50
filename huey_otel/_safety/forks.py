"""Forks: what a child must renew, and what must not run while a fork happens.

Also what must be renewed when gevent replaces threads by greenlets.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final

from huey_otel import _names as n
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES

_PATIENCE: Final = 1.0
"""Seconds that a fork waits for a sink or a collector, before it goes on."""


class Exclusion:
    """Held while code takes foreign locks: a fork waits for it, at most a second.

    A child would inherit such a lock taken: prometheus_client does not handle forks.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with free locks."""
        self._lock = threading.Lock()
        # A fork must get in between two holders: Python's locks are not fair.
        self._turnstile = threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        self.take(-1.0)

    def __exit__(self, *_: object) -> None:
        self.release()

    def hold(self) -> bool:
        """Take it for a fork; False, and a log line, after a second."""
        if self.take(_PATIENCE):
            LOSSES.recovered("fork")
            return True
        LOSSES.count(
            n.LOSS_INTERNAL,
            0,
            streak="fork",
            why=f"a collector or sink held up a fork for {_PATIENCE:g} s,"
            " the child may inherit a lock of it",
        )
        return False

    def release(self) -> None:
        """Undo one `take`."""
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()

    def take(self, timeout: float) -> bool:
        """Take it, also again; False after *timeout* seconds, -1 for no limit."""
        if self._owner != threading.get_ident():
            if not self._turnstile.acquire(timeout=timeout):
                return False
            try:
                if not self._lock.acquire(timeout=timeout):
                    return False
            finally:
                self._turnstile.release()
            self._owner = threading.get_ident()
        self._depth += 1
        return True


COLLECTING: Final = Exclusion()
"""For collectors of the application, which may be slow. Taken before EXCLUSION."""

EXCLUSION: Final = Exclusion()
"""For the sinks and other quick code."""

_BOTH: Final = (COLLECTING, EXCLUSION)


_held: Final[dict[int, list[list[Exclusion]]]] = {}
"""What each thread, or greenlet, holds for the forks that it is in."""

_renewals: list[tuple[weakref.ref[Any], Callable[[Any], Any]]] = []


def in_child(renew: Callable[[], Any]) -> None:
    """Call the bound method *renew* in each child forked while its object lives."""
    for gone in [known for known in _renewals if known[0]() is None]:
        # One by one: an exporter's thread may add its own meanwhile.
        with contextlib.suppress(ValueError):
            _renewals.remove(gone)
    # No WeakMethod: its callback, in Python, would swallow a task's timeout.
    method: Any = renew
    _renewals.append((weakref.ref(method.__self__), method.__func__))


def _before() -> None:
    held: list[Exclusion] = []
    _held.setdefault(threading.get_ident(), []).append(held)
    for one in _BOTH:
        if one.hold():
            held.append(one)


@contextlib.contextmanager
def several_forks() -> Iterator[None]:
    """Hold both exclusions from the first of several forks to the last.

    Records of the first child would make the sinks here import modules, and a child
    that is forked during an import waits for it for ever (CPython 3.11 to 3.13).
    """
    _before()
    try:
        yield
    finally:
        _in_parent()


def _in_parent() -> None:
    me = threading.get_ident()
    for one in _held[me].pop():
        one.release()
    if not _held[me]:
        del _held[me]


def _in_child() -> None:
    _Seen.pid = os.getpid()
    LOSSES.reset()
    _renew_all()


def _renew_all() -> None:
    _held.clear()
    for one in _BOTH:
        one.renew()
    for known, renew in _renewals:
        owner = known()
        if owner is not None:
            guarded(renew)(owner)


os.register_at_fork(
    before=_before, after_in_parent=_in_parent, after_in_child=_in_child
)


class _Seen:
    """The process, and the kind of threads, that everything was made for."""

    pid = os.getpid()
    local = threading.local


def look_around() -> None:
    """Renew everything after gevent's patches, or a fork without Python's hooks.

    Locks and thread-locals made before gevent patches would be shared by all
    greenlets. Nothing of ours may run yet, which holds until a consumer starts.
    uWSGI forks without the hooks, but for `py-call-osafterfork` (2.0.30).
    """
    if os.getpid() != _Seen.pid:
        _in_child()
    if threading.local is not _Seen.local:
        _Seen.local = threading.local
        _renew_all()
