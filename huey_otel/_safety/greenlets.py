"""Greenlets: whether gevent has replaced threads by them."""

import os
import sys
import threading
from typing import Any


def patched() -> bool:
    """True once gevent has patched `threading`; gevent is not imported for that."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def stay_where_forked(pid: int) -> None:
    """Return in the process *pid*, and wait for ever in another one.

    gevent's greenlets live on in a forked child, and `threading` there does not know
    them, and logs an error for each that ends (CPython 3.11).
    """
    if os.getpid() != pid:
        threading.Event().wait()
