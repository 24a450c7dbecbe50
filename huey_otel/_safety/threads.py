"""Threads of ours, which the system may refuse to start."""

import threading

from huey_otel import _names as n
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import is_the_applications


def start(thread: threading.Thread, what: str) -> bool:
    """Start *thread*, which delivers events; *what* names it for people.

    False where the system refuses, which is logged once per streak: the events wait,
    and the next one may try again. Raises what interrupts the start.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if is_the_applications(error):
            raise
        why = f"{what} cannot be started, events wait: {error}"
        LOSSES.count(n.LOSS_INTERNAL, 0, streak=what, why=why)
        return False
    LOSSES.recovered(what)
    return True
