"""Failover: whether a connection still leads to the master that its name leads to.

A planned failover behind one name demotes a server and leaves its connections open.
What is published there then reaches no subscriber, and what is read there is old.
"""

import time
from collections.abc import Callable
from typing import Any, Final

_INTERVAL: Final = 5.0
"""Seconds after which a server is asked again whether it is a master."""

_LIFETIME: Final = 10.0
"""Seconds that a connection lives unless its server says that it is a master."""

Ask = Callable[..., Any]
"""Sends a command; the answer, or ResponseError or None if it is refused."""


def is_master(ask: Ask) -> bool | None:
    """Whether a server says that it is a master; None where it tells no role."""
    from redis.exceptions import ResponseError

    for command in (("ROLE",), ("INFO", "replication")):
        try:
            role = _role(ask(*command))
        except ResponseError:
            continue
        if role is not None:
            return role == b"master"
    return None


def _role(answer: Any) -> bytes | None:
    """The role in the answer to ROLE or INFO, parsed or not."""
    if isinstance(answer, dict):
        answer = answer.get("role", answer.get(b"role"))
    elif isinstance(answer, list):
        answer = answer[0] if answer else None
    text = answer.encode() if isinstance(answer, str) else answer
    for line in text.splitlines() if isinstance(text, bytes) else ():
        role: bytes = line.strip().removeprefix(b"role:")
        if role in (b"master", b"slave"):
            return role
    return None


class MasterCheck:
    """Says when a connection is to be made again.

    Only a new connection shows where a name leads, so one to a replica, or to a server
    that does not tell its role, is replaced after ten seconds of use. `master` is None
    where the role is unknown. The caller adds to `unheard` each event that reached no
    subscriber.
    """

    def __init__(self) -> None:
        self.master: bool | None = None
        self.unheard = 0
        self._left_a_replica = False
        # A server that does not tell is asked once only: some log each question.
        self._answers = True
        self._until = 0.0

    def is_due(self) -> bool:
        """Whether `must_reconnect` would ask."""
        return time.monotonic() >= self._until

    def hurry(self) -> None:
        """Have `must_reconnect` ask the next time: the server may be a replica now."""
        self._until = 0.0

    def connected(self, ask: Ask) -> int | None:
        """Look at a new connection; None, or how much the one before sent in vain.

        That is known if it had become a replica and the name leads to a master now.
        """
        self._set(master=is_master(ask) if self._answers else None)
        self._answers = self.master is not None
        moved = self._left_a_replica and self.master
        in_vain, self.unheard = self.unheard, 0
        self._left_a_replica = False
        return in_vain if moved else None

    def must_reconnect(self, ask: Ask) -> bool:
        """Whether the connection is to be made again; asks every few seconds."""
        if not self.is_due():
            return False
        if self.master is None:
            return True
        master = is_master(ask)
        if master:
            self._set(master=master)
            self.unheard = 0
        else:
            self._left_a_replica = master is False
        return not master

    def _set(self, *, master: bool | None) -> None:
        self.master = master
        self._until = time.monotonic() + (_INTERVAL if master else _LIFETIME)
