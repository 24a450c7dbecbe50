"""The watch: whether a connection still leads to where its name leads now.

A planned failover behind one name demotes a server and leaves its connections open.
What is published there then reaches no subscriber, and what is read there is old.
"""

import time
from collections.abc import Callable
from typing import Any, Final

_EVERY: Final = 5.0
"""Seconds after which a server is asked again whether it is a master."""

_LONGEST: Final = 10.0
"""Seconds that a connection to what is no master, or does not say so, lives."""

Ask = Callable[..., Any]
"""Sends a command; the answer, or ResponseError or None if it is refused."""


def is_master(ask: Ask) -> bool | None:
    """What a server says of itself; None where it says nothing."""
    from redis.exceptions import ResponseError

    for command in (("ROLE",), ("INFO", "replication")):
        try:
            role = _role(ask(*command))
        except ResponseError:
            continue
        if role is not None:
            return role == "master"
    return None


def _role(answer: Any) -> str | None:
    """The role in the answer to ROLE or INFO, parsed or not."""
    if isinstance(answer, dict):
        answer = [answer.get("role", answer.get(b"role"))]
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if isinstance(answer, str):
        answer = answer.encode()
    if not isinstance(answer, bytes):
        return None
    for line in answer.splitlines():
        role = line.strip().removeprefix(b"role:")
        if role in (b"master", b"slave"):
            return role.decode()
    return None


class Watch:
    """Says when the connection of one user is to be made again.

    Only that shows where a name leads: so the connection to a replica, or to a
    server that may not say what it is, lives for ten seconds while it is used.
    `master` is None where it is not known. The user adds to `unheard` how many events
    reached no subscriber, and sees by `is_due` whether it is time to ask.
    """

    def __init__(self) -> None:
        self.master: bool | None = None
        self.unheard = 0
        self._left_a_replica = False
        # A server that does not say is not asked at each connection: some log that.
        self._says = True
        self._until = 0.0

    def is_due(self) -> bool:
        """Whether `is_over` would ask."""
        return time.monotonic() >= self._until

    def begin(self, ask: Ask) -> int | None:
        """Look at a new connection; how much was sent in vain to the one before.

        None unless that had become a replica while the name leads to a master now.
        """
        self._see(master=is_master(ask) if self._says else None)
        self._says = self.master is not None
        moved = self._left_a_replica and self.master
        vain, self.unheard = self.unheard, 0
        self._left_a_replica = False
        return vain if moved else None

    def is_over(self, ask: Ask) -> bool:
        """Whether the connection is to be made again; asks every few seconds."""
        if not self.is_due():
            return False
        if self.master is None:
            return True
        now = is_master(ask)
        if now:
            self._see(master=now)
            self.unheard = 0
        else:
            self._left_a_replica = now is False
        return not now

    def _see(self, *, master: bool | None) -> None:
        self.master = master
        self._until = time.monotonic() + (_EVERY if master else _LONGEST)
