"""Real servers and processes for the live tests, so that a test may kill its own."""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer, Program
from tests.live.received_events import ReceivedEvents
from tests.support.redis_server import RedisServer, serving

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that each test recorded as its proof, one line a test."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, figures in getattr(report, "user_properties", ()):
                if name == "proof" and report.when == "call":
                    told = " ".join(f"{key}={value}" for key, value in figures.items())
                    place = report.nodeid.rpartition("/")[2]
                    terminalreporter.write_line(f"{outcome} {place}: {told}")


redis_server = pytest.fixture(serving)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[Program], Program]]:
    """Ends a program with the test; what it printed is in the failure's report."""
    kept: list[Program] = []

    def keep(program: Program) -> Program:
        kept.append(program)
        return program

    yield keep
    for program in kept:
        program.clean_up()
        sys.stderr.write(f"--- {program.name}\n{program.log[-20_000:]}\n")


@pytest.fixture
def consumer(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[..., Consumer]:
    """Starts `huey_consumer` for `tests/live/apps/*application*.py`."""
    numbers = itertools.count(1)

    def start(
        kind: str,
        *options: str,
        application: str = "outcomes",
        url: str = redis_url,
        pythonpath: str = "",
        **environ: str,
    ) -> Consumer:
        started = Consumer(
            application,
            kind,
            *options,
            log=tmp_path / f"consumer-{next(numbers)}.log",
            environ={"LIVE_QUEUE_URL": url} | environ,
            pythonpath=pythonpath,
        )
        keep(started)
        return started

    return start


@pytest.fixture
def application(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Iterator[Callable[..., ModuleType]]:
    """Imports `tests/live/apps/*name*.py` again, to enqueue its tasks from the test."""
    loaded: list[ModuleType] = []

    def load(name: str = "outcomes", **environ: str) -> ModuleType:
        for variable, value in ({"LIVE_QUEUE_URL": redis_url} | environ).items():
            monkeypatch.setenv(variable, value)
        full_name = f"tests.live.apps.{name}"
        sys.modules.pop(full_name, None)
        loaded.append(importlib.import_module(full_name))
        return loaded[-1]

    yield load
    for module in loaded:
        module.instrumentation.uninstrument()
        pool = getattr(module.huey.storage, "pool", None)
        if pool is not None:
            pool.disconnect()
        else:
            module.huey.storage.close()
        sys.modules.pop(module.__name__, None)


@pytest.fixture
def receive_events(redis_url: str) -> Iterator[Callable[..., ReceivedEvents]]:
    """Makes a ReceivedEvents, by default of the queue `live` on the test's Redis."""
    made: list[ReceivedEvents] = []

    def make(channel: str = "live", url: str = redis_url) -> ReceivedEvents:
        made.append(ReceivedEvents(url, channel))
        return made[-1]

    yield make
    for received in made:
        received.stop()


@pytest.fixture
def received(receive_events: Callable[..., ReceivedEvents]) -> ReceivedEvents:
    """The events that a listener of the queue `live` receives from now on."""
    return receive_events()


@pytest.fixture
def conn(redis_url: str) -> Iterator[redis.Redis]:
    # Longer than any test waits.
    with redis.Redis.from_url(redis_url, socket_timeout=600) as client:
        yield client


@pytest.fixture
def produce(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[..., None]:
    """Runs the application `traced_web` as a producer, to its end."""

    def produce(*arguments: str, **environ: str) -> None:
        program = Program(
            *("-m", "tests.live.apps.traced_web", *arguments),
            log=tmp_path / "producer.log",
            environ={"LIVE_QUEUE_URL": redis_url} | environ,
        )
        keep(program)
        assert program.wait() == 0

    return produce
