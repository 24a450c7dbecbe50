"""The endpoint: a consumer's pages over HTTP, a thread for each client.

Not by the standard library's ThreadingHTTPServer: it bounds no threads, looks up the
host's name, spins without descriptors and prints to stderr. Little of it would be left.
"""

import errno
import gzip
import math
import os
import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Protocol

from prometheus_client.exposition import gzip_accepted

from huey_otel._prometheus.pages import Page
from huey_otel._safety import encodable
from huey_otel._safety.forks import EXCLUSION, in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._safety.wakeups import Waker

_MOST_CLIENTS: Final = 16
_PAUSE: Final = 1.0
"""Seconds to wait for a file descriptor, or for a client to read its answer."""

_ROOM_PAUSE: Final = 0.1
"""Seconds between two looks for room."""

_BACKLOG: Final = 128

_REFUSED: Final = re.compile(r";\s*q=0(\.0*)?\s*$", re.IGNORECASE)
"""Ends a coding that the client refuses; prometheus_client 0.26 does not read it."""


class Answering(Protocol):
    """Answers requests, from several threads."""

    def get(self, target: str, accept: str, /) -> Page:
        """The page at *target*, a path and perhaps a query."""


class _Client:
    """A connection. We wait for the client since `since`; inf while it waits for us."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.since = time.monotonic()

    def hang_up(self) -> None:
        """End it for both sides, even if a forked child has a copy."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """Answers one request of *client* and closes."""

    timeout = 10.0
    """Seconds that a client may be silent, or take to read all of its answer."""

    server_version = "huey-otel"
    sys_version = ""

    def __init__(self, client: _Client, pages: Answering) -> None:
        self._client = client
        self._pages = pages
        # Nothing in it uses a server or an address.
        super().__init__(client.socket, None, None)  # type: ignore[arg-type]  # see above

    def do_GET(self) -> None:
        """Answer with the page."""
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        """Answer as GET would, without the page."""
        self._head()

    def _head(self) -> bytes:
        self._client.since = math.inf
        page = self._pages.get(self.path, self.headers.get("Accept") or "")
        body = page.body
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        if self._takes_gzip():
            # A third of the time of level 6, and a fifth more bytes.
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self._client.since = time.monotonic()
        self.end_headers()
        return body

    def _takes_gzip(self) -> bool:
        codings = (self.headers.get("Accept-Encoding") or "").split(",")
        taken = [coding for coding in codings if not _REFUSED.search(coding)]
        return gzip_accepted(",".join(taken))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as there
        """Log nothing: scrapes come every few seconds."""


class Endpoint:
    """Serves *pages* on *host* and *port* from a thread; port 0 picks a free one.

    Where the port is taken, it tries again every *retry* seconds, or raises OSError
    where that is None. Forked children close what they inherit of it.
    """

    def __init__(
        self, pages: Answering, *, host: str, port: int, retry: float | None = 15.0
    ) -> None:
        self._pages = pages
        self._host = host
        self._port = port
        self._retry = retry
        self._listener: socket.socket | None = None
        self._closed = False
        self.trouble = ""
        self._begin()
        waker = Waker()
        self._waker: Waker | None = waker
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, args=(waker,), name="huey-otel-endpoint", daemon=True
        )
        in_child(self._after_fork)
        error = self._listen()
        if error is not None:
            self._note_trouble(error)
            if retry is None:
                waker.close()
                raise OSError(self.trouble) from error
            self._log_trouble()
        self._thread.start()

    def _begin(self) -> None:
        self._clients: set[_Client] = set()
        self._room = threading.Semaphore(_MOST_CLIENTS)

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
        """Where the metrics are, None while it does not listen."""
        address = self.address
        if address is None:
            return None
        return f"http://{_host_and_port(self._host or address[0], address[1])}/metrics"

    def _note_trouble(self, error: Exception) -> None:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        how = "is taken" if taken else f"cannot be had ({error})"
        where = _host_and_port(self._host, self._port)
        self.trouble = encodable.text(f"port {where} {how}")

    def _log_trouble(self) -> None:
        warn(
            "metrics %s, tried again every %g s; HUEY_OTEL_METRICS_PORT or"
            " metrics_port= sets another port, HUEY_OTEL_METRICS_HOST or"
            " metrics_host= another host",
            self.trouble,
            self._retry,
        )

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

    def _run(self, waker: Waker) -> None:
        pid = os.getpid()
        try:
            while True:
                if self._listener is None:
                    waker.wait(self._retry)
                else:
                    waker.wait(None, [self._listener.fileno()])
                if self._closed:
                    break
                if self._listener is not None:
                    self._accept(self._listener, waker)
                elif self._listen() is None:
                    # A log that has the failure has this line as well.
                    warn("metrics are served on %s now", self.url)
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.close()
            for client in list(self._clients):
                client.hang_up()
        finally:
            stay_where_forked(pid)

    def _listen(self) -> Exception | None:
        """Listen, by IPv4 where a name has both; returns the error if it cannot."""
        try:
            found = socket.getaddrinfo(
                self._host or None,
                self._port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            found.sort(key=lambda entry: entry[0] != socket.AF_INET)
            family, _, _, _, address = found[0]
            # A child that is forked in between would not know what to close.
            with EXCLUSION:
                self._listener = socket.create_server(
                    address[:2],
                    family=family,
                    backlog=_BACKLOG,
                    dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
                )
                self._listener.settimeout(0.0)
        except (OSError, ValueError) as error:
            # ValueError for a host that is no name at all.
            return error
        return None

    def _accept(self, listener: socket.socket, waker: Waker) -> None:
        """Answer the next client, if there is one, from a thread of its own."""
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # No file descriptor is left; clients wait, and we do not spin.
            waker.wait(_PAUSE)
            return
        if not self._make_room():
            accepted.close()
            return
        client = _Client(accepted)
        thread = threading.Thread(
            target=self._serve, args=(client,), name="huey-otel-scrape", daemon=True
        )
        self._clients.add(client)
        try:
            thread.start()
        except RuntimeError:
            # As the interpreter goes down, or where threads are rationed.
            self._end(client)

    def _make_room(self) -> bool:
        """Hang up on the slowest client if there are too many; False if we close.

        While all of them wait for their pages the next one waits as well, and later
        leaves them a second to read.
        """
        wait = 0.0
        while not self._room.acquire(timeout=wait):
            if self._closed:
                return False
            slowest = min(list(self._clients), key=lambda client: client.since)
            if slowest.since <= time.monotonic() - (_PAUSE if wait else 0.0):
                slowest.hang_up()
            wait = _ROOM_PAUSE
        return True

    @guarded
    def _serve(self, client: _Client) -> None:
        try:
            with suppress(OSError):
                Handler(client, self._pages)
        finally:
            self._end(client)

    def _end(self, client: _Client) -> None:
        client.hang_up()
        client.socket.close()
        self._clients.discard(client)
        self._room.release()

    def _after_fork(self) -> None:
        sockets = [self._listener, *(client.socket for client in self._clients)]
        for inherited in sockets:
            if inherited is not None and inherited.fileno() >= 0:
                # Their own close() waits for files that a thread had made of them.
                os.close(inherited.detach())
        if self._waker is not None:
            self._waker.close()
        self._listener = self._waker = self._thread = None
        self._begin()


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
