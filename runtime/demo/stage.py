"""What is up during a demo: the receiver, the server, the listener, the consumer."""

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
from runtime.demo import trees
from runtime.demo.environment import environ
from runtime.demo.forwarding import forwarding
from runtime.demo.hearing import Hearing
from runtime.demo.page import Page, scrape
from runtime.demo.processes import FailedError, Process, end, logged, python, server
from runtime.demo.screen import Screen
from runtime.demo.waiting import Stop
from runtime.otlp_receiver import Span, receiver

CONSUMER = ("runtime", "consumer", "runtime.shop.huey", "-k", "process", "-w", "2")
CHANNEL = "shop"
END = "demo-end"
"""Status of a message that comes when all events have been published."""

UP = 30.0
"""Seconds that a process may take to come up, or to end."""

FRAME = 0.25
"""Seconds between two pictures on a screen that is alive."""


class Stage:
    """Starts all of them, in this order, and shows on *screen* what the listener hears.

    `heard` is what it has heard, `url` where the metrics are, `forward` where spans
    go from here. Everything ends with *stack*; files are in *place*.
    """

    def __init__(
        self, stack: ExitStack, place: Path, screen: Screen, stop: Stop
    ) -> None:
        self.heard: list[Event] = []
        self.url = ""
        self._stack = stack
        self._place = place
        self._screen = screen
        self._stop = stop
        self._over = False
        self._consumer: Process | None = None
        self._next_frame = 0.0
        self._trace: list[Span] = []
        self.forward = stack.enter_context(forwarding(os.environ))
        self._receiver = stack.enter_context(receiver())
        self._receiver.forward = self.forward
        self._env = environ(self._receiver.endpoint)
        self._redis = stack.enter_context(server(place))
        listener = self.start(
            "runtime.demo.listen", self._redis, CHANNEL, stdin=subprocess.PIPE
        )
        self._hearing = Hearing(listener)
        self.need(lambda: self._hearing.subscribed, UP, "the listener")
        self._consumer = self.start(*CONSUMER)
        self.need(lambda: bool(self.heard), UP, "the consumer's first event")
        self.need(lambda: bool(self._metrics_url()), UP, "the metrics page")
        self.url = self._metrics_url()

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Process:
        """Start ``python -m`` *arguments*, which finds the shop's queue here."""
        shop = {"SHOP_REDIS_URL": self._redis, "SHOP_REPORT": "every-minute"}
        env = {**self._env, **shop}
        started = python(*arguments, place=self._place, env=env, stdin=stdin)
        return self._stack.enter_context(started)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Show what is heard until *ready*, at most *seconds*; whether it was."""

        def heard_and_ready() -> bool:
            self._hear()
            self._picture()
            return ready()

        return self._stop.wait(heard_and_ready, seconds)

    def need(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for *what*, without which there is no demo; FailedError if late."""
        if not self.wait(ready, seconds):
            raise FailedError(f"{what} did not come in {seconds:g} s")

    def page(self, good: Callable[[Page], bool], seconds: float) -> Page:
        """Read the metrics page, again until it is *good*, at most *seconds*.

        What has been heard of an attempt may be on the page a moment later.
        """
        pages: list[Page] = []

        def read_and_good() -> bool:
            page = scrape(self.url)
            if page is not None:
                pages[:] = [page]
            return page is not None and good(page)

        self.wait(read_and_good, seconds)
        if not pages:
            raise FailedError(f"there is no metrics page at {self.url}")
        return pages[0]

    @property
    def trace(self) -> list[Span]:
        """The trace that tells most, of what was received since `clear` or before."""
        return trees.best([*self._trace, *self._receiver.spans])

    def clear(self) -> None:
        """Forget what was heard and received, but for one trace."""
        self._trace = self.trace
        self._receiver.clear()
        self.heard.clear()

    def end_consumer(self) -> None:
        """End the consumer, which finishes its tasks, and hear all that it had to say.

        FailedError if it did not end well.
        """
        assert self._consumer is not None  # noqa: S101  # for mypy
        consumer, self._consumer = self._consumer, None
        code = end(consumer)
        with closing(Redis.from_url(self._redis)) as redis:
            redis.publish(CHANNEL, json.dumps({"status": END}))
        self.need(lambda: self._over, UP, "the last event")
        if code != 0:
            raise FailedError(f"the consumer ended with {code}, and not with 0")

    def _hear(self) -> None:
        for event in self._hearing.take():
            if event["status"] == END:
                self._over = True
            else:
                self.heard.append(event)
                self._screen.event(event)
        if self._consumer is not None and self._consumer.poll() is not None:
            raise FailedError(f"the consumer ended: {self._consumer.returncode}")

    def _picture(self) -> None:
        if self._screen.alive and self.url and time.monotonic() >= self._next_frame:
            self._next_frame = time.monotonic() + FRAME
            page = scrape(self.url)
            if page is not None:
                self._screen.frame(page, self.url, self.trace)

    def _metrics_url(self) -> str:
        """Find in the consumer's start line where its metrics are, "" if nowhere."""
        found = re.search(r"^  metrics: (http\S+)$", logged(self._place), re.MULTILINE)
        return found[1] if found else ""
