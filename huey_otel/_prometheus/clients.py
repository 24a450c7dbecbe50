"""The clients of the endpoint: a thread each, not too many, and none for long."""

import math
import socket
import threading
import time
from contextlib import suppress
from typing import Final

from huey_otel._prometheus.pages import Handler, Pages
from huey_otel._safety.guard import guarded
from huey_otel._safety.wakeups import Waker

_MOST_CLIENTS: Final = 16
"""At once; one more, and the oldest has to go."""

_MOST_THREADS: Final = 2 * _MOST_CLIENTS
_LIFETIME: Final = 10.0
"""Seconds in which a client must have asked and read its answer."""

_PAUSE: Final = 1.0
_TRIES: Final = 100


class _Client:
    """A connection, until `deadline` in monotonic seconds; inf once hung up on."""

    __slots__ = ("deadline", "socket")

    def __init__(self, accepted: socket.socket, deadline: float) -> None:
        self.socket = accepted
        self.deadline = deadline

    def end(self) -> None:
        """Let it and its thread see the end, whoever else has a copy of it."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Clients:
    """Those who ask for *pages*, until they have been answered or hung up on."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._clients: set[_Client] = set()

    def accept(self, listener: socket.socket, waker: Waker) -> None:
        """Answer the next one, if there is one, from a thread of its own.

        *waker* is what it pauses by, so that the endpoint need not wait to close.
        """
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # No file descriptor is left; they wait, and we do not spin.
            waker.wait(_PAUSE)
            return
        if not self._has_room(waker):
            accepted.close()
            return
        deadlines = self._deadlines()
        if len(deadlines) >= _MOST_CLIENTS:
            self.hang_up(min(deadlines))
        client = _Client(accepted, time.monotonic() + _LIFETIME)
        if not self._serve(client, address):
            accepted.close()

    def hang_up(self, until: float) -> None:
        """End all clients whose time is over at *until*."""
        for client in list(self._clients):
            if client.deadline <= until:
                client.deadline = math.inf
                client.end()

    def until_overdue(self) -> float | None:
        """Seconds until the next one has had its time, None while there is none."""
        deadlines = self._deadlines()
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def sockets(self) -> list[socket.socket]:
        """The connections that are open."""
        return [client.socket for client in self._clients]

    def _deadlines(self) -> list[float]:
        """Of all that have not been hung up on."""
        clients = list(self._clients)
        return [client.deadline for client in clients if client.deadline < math.inf]

    def _has_room(self, waker: Waker) -> bool:
        """False if even those that were hung up on stay, stuck in a collector."""
        for _ in range(_TRIES):
            if len(self._clients) < _MOST_THREADS:
                return True
            waker.wait(_PAUSE / _TRIES)
        return False

    def _serve(self, client: _Client, address: object) -> bool:
        thread = threading.Thread(
            target=self._answer,
            args=(client, address),
            name="huey-otel-scrape",
            daemon=True,
        )
        self._clients.add(client)
        try:
            thread.start()
        except RuntimeError:
            # As the interpreter goes down, or where threads are rationed.
            self._clients.discard(client)
            return False
        return True

    @guarded
    def _answer(self, client: _Client, address: object) -> None:
        try:
            with suppress(OSError):
                client.socket.settimeout(_LIFETIME)
                Handler(client.socket, address, self._pages)
        finally:
            client.end()
            client.socket.close()
            self._clients.discard(client)
