"""The endpoint: `/metrics` and `/healthz` of a consumer, over HTTP."""

import errno
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from huey_otel._prometheus.clients import Clients
from huey_otel._prometheus.pages import Pages
from huey_otel._safety import encodable
from huey_otel._safety.forks import EXCLUSION, in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.log import warn
from huey_otel._safety.wakeups import Waker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_BACKLOG: Final = 128

_NOT_HAD: Final = (OSError, ValueError)
"""What a host raises that cannot be had: one that is no name at all, a ValueError."""


class Endpoint:
    """Serves *registry* on *host* and *port*; port 0 picks a free one.

    *health* gives None while all is well, else the reason why not. *prepare* is
    called before each scrape, for what must not be done during one. Where the
    port is taken, it tries again every *retry* seconds. Forked children close
    what they inherit of it.
    """

    def __init__(
        self,
        registry: "CollectorRegistry",
        *,
        host: str,
        port: int,
        health: Callable[[], str | None],
        prepare: Callable[[], object] = lambda: None,
        retry: float = 15.0,
    ) -> None:
        self._pages = Pages(registry, health, prepare)
        # As it is written in a URL.
        self._host = host[1:-1] if host[:1] + host[-1:] == "[]" else host
        self._port = port
        self._retry = retry
        self._listener: socket.socket | None = None
        self._clients = Clients(self._pages)
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self.trouble = ""
        in_child(self._after_fork)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port that it listens on, None while it does not."""
        listener = self._listener
        if listener is None:
            return None
        host, port, *_ = listener.getsockname()
        return host, port

    @property
    def url(self) -> str | None:
        """Where the metrics are, None while they are nowhere."""
        address = self.address
        if address is None:
            return None
        return f"http://{_written(self._host or address[0], address[1])}/metrics"

    def start(self) -> None:
        """Listen now if the port is free, and serve from a thread of its own."""
        try:
            self._listen()
        except _NOT_HAD as error:
            self._not_listening(error)
        self._waker = Waker()
        self._thread = threading.Thread(
            target=self._run, name="huey-otel-endpoint", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and hang up on all clients."""
        self._closed = True
        thread, waker = self._thread, self._waker
        if thread is not None and waker is not None:
            waker.poke()
            thread.join(1.0)
            if not thread.is_alive():
                self._waker = self._thread = None
                waker.close()

    def _run(self) -> None:
        waker, pid = self._waker, os.getpid()
        if waker is not None:
            try:
                self._listen_and_serve(waker)
            finally:
                stay_where_forked(pid)

    def _listen_and_serve(self, waker: Waker) -> None:
        while self._listener is None and not self._closed:
            waker.wait(self._retry)
            self._try_again()
        while self._listener is not None and not self._closed:
            waker.wait(self._clients.until_overdue(), [self._listener.fileno()])
            self._clients.hang_up(time.monotonic())
            self._clients.accept(self._listener, waker)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._clients.hang_up(math.inf)

    def _try_again(self) -> None:
        if self._closed:
            return
        try:
            self._listen()
        except _NOT_HAD:
            return
        # A warning, as the one before it: both or none are read.
        warn("metrics are served on %s now", self.url)

    def _listen(self) -> None:
        family, address = _resolved(self._host, self._port)
        # A child forked meanwhile would not know what to close.
        with EXCLUSION:
            self._listener = _listening(family, address)

    def _not_listening(self, error: OSError | ValueError) -> None:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        how = "is taken" if taken else f"cannot be had ({error})"
        where = _written(self._host, self._port)
        self.trouble = encodable.text(f"port {where} {how}")
        warn(
            "metrics %s, tried again every %g s; HUEY_OTEL_METRICS_PORT or"
            " metrics_port= sets another port, HUEY_OTEL_METRICS_HOST or"
            " metrics_host= another host",
            self.trouble,
            self._retry,
        )

    def _after_fork(self) -> None:
        for inherited in (self._listener, *self._clients.sockets()):
            if inherited is not None and inherited.fileno() >= 0:
                # Their own close() waits for files that a thread had made of them.
                os.close(inherited.detach())
        if self._waker is not None:
            self._waker.close()
        self._listener = self._waker = self._thread = None
        self._clients = Clients(self._pages)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Where to listen; IPv4 where a name means both."""
    found = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _listening(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listener = socket.create_server(
        address,
        family=family,
        backlog=_BACKLOG,
        dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
    )
    listener.settimeout(0.0)
    return listener


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
