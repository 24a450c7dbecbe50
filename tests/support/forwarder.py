"""TCP forwarders: one name for servers that change behind it, or do not answer."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Forwarder:
    """Forwards new connections to `target`, which may change; old ones stay.

    *decide* is called with the data of a client. True forwards it, None swallows it,
    and False closes the connection, as some proxies do at unknown commands.
    """

    def __init__(self, port: int, decide=lambda _: True) -> None:
        self.target = port
        self._decide = decide
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._forgotten: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for ends in ((client, server, self._decide), (server, client, lambda _: 1)):
                thread = threading.Thread(target=self._pump, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def forget(self) -> None:
        """Swallow all data of the open connections, and keep them open."""
        self._forgotten.update(self._sockets[1:])

    def _pump(self, source, sink, decide) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                answer = decide(data)
                if answer is None or source in self._forgotten:
                    continue
                if not answer:
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)

    def close(self) -> None:
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Mute(Forwarder):
    """A way to a Redis that swallows the commands with `word`, once that is set."""

    word: bytes | None = None

    def __init__(self, port: int) -> None:
        super().__init__(port, self._let_through)

    def _let_through(self, data: bytes) -> bool | None:
        return None if self.word is not None and self.word in data else True

    @property
    def patient_url(self) -> str:
        """One without redis-py 8's own timeout of 5 s."""
        return f"{self.url}?socket_timeout=3600"


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
