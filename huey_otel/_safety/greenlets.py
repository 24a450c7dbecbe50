"""Greenlets: whether gevent has put them in the place of threads."""

import os
import sys
import threading
from typing import Any


def patched() -> bool:
    """True once gevent has patched `threading`; gevent is not imported for that."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def stay_where_forked(pid: int) -> None:
    """Return in the process *pid*, and in no other.

    A fork takes gevent's greenlets along, and `threading`, which knows nothing
    of them there, complains of each that ends (CPython 3.11).
    """
    if os.getpid() != pid:
        threading.Event().wait()
