"""The running demo: trace receiver, server, listener and consumer, and their output."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from redis import Redis

from huey_otel.events import Event
from runtime.demo.listener import ListenerOutput
from runtime.demo.metrics import Page, scrape
from runtime.demo.processes import (
    FailedError,
    Process,
    StopSignal,
    end,
    environ,
    python,
    read_log,
    server,
)
from runtime.demo.terminal import Screen
from runtime.demo.traces import best_trace, forwarding
from runtime.otlp_receiver import Span, receiver

CONSUMER = ("runtime", "consumer", "runtime.shop.huey", "-k", "process", "-w", "2")
CHANNEL = "shop"
LAST_STATUS = "demo-end"
"""Status of the message that is published behind the consumer's last event."""

START_SECONDS = 60.0
"""Time that a process has to start, and the load and the last event to arrive."""

REFRESH_SECONDS = 0.25
"""Time between two views of a live screen."""


class Session:
    """Starts receiver, server, listener and consumer, in this order.

    `events` are those that the listener has received; *screen* shows them as they
    come. `metrics_url` is the consumer's page. `forwarder` sends the spans on to the
    user's collector, unless None. All files are in *directory*, and everything ends
    with *stack*.
    """

    def __init__(
        self, stack: ExitStack, directory: Path, screen: Screen, stop: StopSignal
    ) -> None:
        self.events: list[Event] = []
        self.metrics_url = ""
        self._stack = stack
        self._directory = directory
        self._screen = screen
        self._stop = stop
        self._last_event_seen = False
        self._consumer: Process | None = None
        self._next_refresh = 0.0
        self._earlier_trace: list[Span] = []
        self.forwarder = stack.enter_context(forwarding(os.environ))
        self._receiver = stack.enter_context(receiver())
        self._receiver.forward = self.forwarder
        self._env = environ(self._receiver.endpoint)
        self._redis = stack.enter_context(server(directory))
        listener = self.start(
            "runtime.demo.listener", self._redis, CHANNEL, stdin=subprocess.PIPE
        )
        self._listener = ListenerOutput(listener)
        self.require(lambda: self._listener.subscribed, START_SECONDS, "the listener")
        self._consumer = self.start(*CONSUMER)
        self.require(
            lambda: bool(self.events), START_SECONDS, "the consumer's first event"
        )
        self.require(
            lambda: bool(self._find_metrics_url()), START_SECONDS, "the metrics page"
        )
        self.metrics_url = self._find_metrics_url()

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Process:
        """Start ``python -m`` *arguments* with the shop's queue on our server."""
        shop = {"SHOP_REDIS_URL": self._redis, "SHOP_REPORT": "every-minute"}
        env = {**self._env, **shop}
        started = python(*arguments, directory=self._directory, env=env, stdin=stdin)
        return self._stack.enter_context(started)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Show new events until *ready*; return False if *seconds* pass first."""

        def read_and_ready() -> bool:
            self._read_events()
            self._refresh_screen()
            return ready()

        return self._stop.wait_until(read_and_ready, seconds)

    def require(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until *ready*; raise FailedError, naming *what*, after *seconds*."""
        if not self.wait_until(ready, seconds):
            raise FailedError(f"{what} did not come in {seconds:g} s")

    def read_page(self, good: Callable[[Page], bool], seconds: float) -> Page:
        """Read the metrics page repeatedly until it is *good*, at most *seconds*.

        The page may count an attempt a moment after its event has arrived.
        """
        latest: list[Page] = []

        def read_and_good() -> bool:
            page = scrape(self.metrics_url)
            if page is not None:
                latest[:] = [page]
            return page is not None and good(page)

        self.wait_until(read_and_good, seconds)
        if not latest:
            raise FailedError(f"there is no metrics page at {self.metrics_url}")
        return latest[0]

    @property
    def trace(self) -> list[Span]:
        """The best trace of this round and the rounds before."""
        return best_trace([*self._earlier_trace, *self._receiver.spans])

    def start_round(self) -> None:
        """Forget the events and the spans of the last round, except the best trace."""
        self._earlier_trace = self.trace
        self._receiver.clear()
        self.events.clear()

    def end_consumer(self) -> None:
        """Let the consumer finish its tasks and end, and read all its events.

        Raises FailedError unless it exits with 0.
        """
        assert self._consumer is not None  # noqa: S101  # for mypy
        consumer, self._consumer = self._consumer, None
        code = end(consumer)
        with closing(Redis.from_url(self._redis)) as redis:
            redis.publish(CHANNEL, json.dumps({"status": LAST_STATUS}))
        self.require(lambda: self._last_event_seen, START_SECONDS, "the last event")
        if code != 0:
            raise FailedError(f"the consumer ended with {code}, and not with 0")

    def _read_events(self) -> None:
        for event in self._listener.events():
            if event["status"] == LAST_STATUS:
                self._last_event_seen = True
            else:
                self.events.append(event)
                self._screen.event(event)
        if self._consumer is not None and self._consumer.poll() is not None:
            raise FailedError(f"the consumer ended: {self._consumer.returncode}")

    def _refresh_screen(self) -> None:
        now = time.monotonic()
        if self._screen.live and self.metrics_url and now >= self._next_refresh:
            self._next_refresh = now + REFRESH_SECONDS
            page = scrape(self.metrics_url)
            if page is not None:
                self._screen.refresh(page, self.metrics_url, self.trace)

    def _find_metrics_url(self) -> str:
        """Find the page's URL in the consumer's start line; "" if it is not there."""
        log = read_log(self._directory)
        found = re.search(r"^  metrics: (http\S+)$", log, re.MULTILINE)
        return found[1] if found else ""
