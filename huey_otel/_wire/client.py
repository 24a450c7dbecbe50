"""The client: the id by which spans name this process, of its host and its pid."""

import os
import socket
from typing import Final

from huey_otel._safety.encodable import name
from huey_otel._safety.forks import in_child


class Client:
    """A consumer and its workers share one id, with the pid of its main process."""

    def __init__(self) -> None:
        self.host = name(socket.gethostname())
        self._consumes = False
        self._renew()
        in_child(self._renew)

    def consumes(self) -> None:
        """Keep the id in children: a consumer starts here, and they are its workers."""
        self._consumes = True

    def _renew(self) -> None:
        if not self._consumes:
            self.id = f"{self.host}:{os.getpid()}"


CLIENT: Final = Client()
