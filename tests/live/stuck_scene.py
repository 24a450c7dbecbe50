"""A consumer of the app `hanging`, and what it answers once a second."""

import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.live.processes import Consumer
from tests.live.scraping import serves, url_of
from tests.support.forwarder import Mute
from tests.support.programs import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

APPLICATION: Final = "tests.live.apps.hanging"
PATIENCE: Final = 3.0
"""Seconds that a probe waits for an answer, as the documents advise."""

FINE: Final = "200"
NO_ANSWER: Final = ""

_importing = threading.Lock()


class Scene:
    """A consumer with workers of one *kind*, its Redis, and the answers to *queries*.

    Each query is asked once a second, from the first `watch` on. `marks` says before
    which question, by number, what was done.
    """

    def __init__(self, kind: str, *queries: str) -> None:
        self.kind = kind
        self.marks: list[tuple[int, str]] = []
        self.redis = RedisServer()
        self.redis.start()
        self.way = Mute(self.redis.port)
        self._directory = tempfile.TemporaryDirectory()
        self.directory = Path(self._directory.name)
        self._port = free_port()
        self._answers: dict[str, dict[int, str]] = {query: {} for query in queries}
        self._asking: list[threading.Thread] = []
        self._asked = 0
        self._next = 0.0

    def start(self, *options: str, url: str = "", **environ: str) -> None:
        """Start the consumer, and load the application to enqueue its tasks."""
        with _importing:
            known = {"LIVE_QUEUE_URL": self.redis.url, **environ}
            self.app = _loaded(known)
        settings = {
            "LIVE_QUEUE_URL": url or self.redis.url,
            "HUEY_OTEL_METRICS_PORT": str(self._port),
            "HUEY_OTEL_EVENTS": "off",
        }
        if self.kind == "greenlet":
            settings["LIVE_PATCH"] = "first"
        self.consumer = Consumer(
            *("hanging", self.kind, *options),
            log=self.directory / "consumer.log",
            environ=settings | environ,
        )
        wait_until(lambda: serves(self._port))
        self.consumer.wait_until_started()

    def watch(self, seconds: float) -> None:
        """Go on asking for *seconds*."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._next = self._next or time.monotonic()
            for query in self._answers:
                self._ask(query, self._asked)
            self._asked += 1
            self._next += 1.0
            time.sleep(max(0.0, self._next - time.monotonic()))

    def mark(self, what: str) -> None:
        """Note *what* is done now."""
        self.marks.append((self._asked, what))

    def freeze(self, *pids: int) -> Callable[[], None]:
        """Stop the consumer with all its processes, or *pids*; how to resume them."""
        pids = pids or (-self.consumer.pid,)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        def resume() -> None:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

        return resume

    def answers(self) -> Iterator[tuple[str, list[str]]]:
        """Each query, and the answers to it: FINE, a reason, or NO_ANSWER."""
        for thread in self._asking:
            thread.join()
        for query, answers in self._answers.items():
            yield query, [answers[number] for number in range(self._asked)]

    def end(self) -> None:
        """End all of it."""
        if hasattr(self, "consumer"):
            self.consumer.clean_up()
        if hasattr(self, "app"):
            self.app.huey.storage.pool.disconnect()
        self.way.close()
        self.redis.remove()
        self._directory.cleanup()

    def _ask(self, query: str, number: int) -> None:
        def ask() -> None:
            self._answers[query][number] = answer(
                url_of(self._port, f"/healthz?{query}")
            )

        self._asking.append(threading.Thread(target=ask))
        self._asking[-1].start()


def answer(url: str) -> str:
    """FINE, the reason of a 503, or NO_ANSWER where none came in time."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answered:
            return str(answered.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode().strip()
    except OSError:
        return NO_ANSWER


def _loaded(environ: dict[str, str]) -> ModuleType:
    os.environ.update(environ)
    sys.modules.pop(APPLICATION, None)
    try:
        return importlib.import_module(APPLICATION)
    finally:
        for name in environ:
            del os.environ[name]
