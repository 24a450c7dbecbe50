"""What is up during a demo: the server, the listener and the consumer."""

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from redis import Redis

from huey_otel.events import Event
from runtime.demo.hearing import Hearing
from runtime.demo.processes import FailedError, Process, end, python, server
from runtime.demo.screen import Screen
from runtime.demo.waiting import Stop

CONSUMER = ("runtime", "consumer", "runtime.shop.huey", "-k", "process", "-w", "2")
CHANNEL = "shop"
END = "demo-end"
"""Status of a message that comes when all events have been published."""

UP = 30.0
"""Seconds that a process may take to come up, or to end."""


class Stage:
    """Starts all three, in this order, and shows on *screen* what the listener hears.

    `heard` is what it has heard. Everything ends with *stack*; files are in *place*.
    """

    def __init__(
        self, stack: ExitStack, place: Path, screen: Screen, stop: Stop
    ) -> None:
        self.heard: list[Event] = []
        self._stack = stack
        self._place = place
        self._screen = screen
        self._stop = stop
        self._over = False
        self._consumer: Process | None = None
        self._url = stack.enter_context(server(place))
        listener = self.start(
            "runtime.demo.listen", self._url, CHANNEL, stdin=subprocess.PIPE
        )
        self._hearing = Hearing(listener)
        self.need(lambda: self._hearing.subscribed, UP, "the listener")
        self._consumer = self.start(*CONSUMER)
        self.need(lambda: bool(self.heard), UP, "the consumer's first event")

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Process:
        """Start ``python -m`` *arguments*, which finds the shop's queue here."""
        env = {"SHOP_REDIS_URL": self._url, "SHOP_REPORT": "every-minute"}
        started = python(*arguments, place=self._place, env=env, stdin=stdin)
        return self._stack.enter_context(started)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Show what is heard until *ready*, at most *seconds*; whether it was."""

        def heard_and_ready() -> bool:
            self._hear()
            return ready()

        return self._stop.wait(heard_and_ready, seconds)

    def need(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for *what*, without which there is no demo; FailedError if late."""
        if not self.wait(ready, seconds):
            raise FailedError(f"{what} did not come in {seconds:g} s")

    def end_consumer(self) -> None:
        """End the consumer, which finishes its tasks, and hear all that it had to say.

        FailedError if it did not end well.
        """
        assert self._consumer is not None  # noqa: S101  # for mypy
        consumer, self._consumer = self._consumer, None
        code = end(consumer)
        with closing(Redis.from_url(self._url)) as redis:
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
