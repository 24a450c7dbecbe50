"""A real Postgres server, as a child process, for a storage of huey 3."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.programs import free_port
from tests.support.redis_server import tied_to_this_process
from tests.support.waiting import wait_until


def binaries() -> Path | None:
    """Where `initdb` and `postgres` are; Debian leaves them out of the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


class PostgresServer:
    """A server with a database of its own, on a free loopback port."""

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        # It refuses to be root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._directory, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """What psycopg connects to."""
        return f"host=127.0.0.1 port={self.port} user=huey dbname=postgres"

    def __enter__(self) -> Self:
        data = self._directory / "data"
        self._start(
            *("initdb", "--auth=trust", "--username=huey", "--no-sync"),
            *("--pgdata", str(data)),
        ).wait(60)
        self._process = self._start(
            *("postgres", "-D", str(data), "-p", str(self.port), "-F"),
            *("-h", "127.0.0.1", "-k", str(self._directory)),
        )
        wait_until(self._is_ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # The fast shutdown: it closes all connections.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*tied_to_this_process(), str(self._programs / program), *arguments],
            cwd=self._directory,
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _is_ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True
