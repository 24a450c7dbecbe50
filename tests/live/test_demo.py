"""`python -m runtime demo --once`, as somebody types it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, wait_until

SECONDS = 50


@pytest.fixture
def place() -> Iterator[Path]:
    """Where a demo has its files, by which its processes are known."""
    # Not pytest's tmp_path: a unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="test-demo-") as name:
        yield Path(name)


@pytest.fixture
def demo(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a demo whose files are all in `place`."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        # A terminal's Ctrl-C goes to the whole process group.
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", "demo", *options],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in running_in(place):
        os.kill(pid, signal.SIGKILL)


def running_in(place: Path) -> list[int]:
    """The processes that have *place* in their environment or command line."""
    found = set()
    # Valkey writes its title over its environment, and a socket's path into it.
    for pattern in ("[0-9]*/environ", "[0-9]*/cmdline"):
        for path in Path("/proc").glob(pattern):
            try:
                text = path.read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if os.fsencode(place) in text:
                found.add(int(path.parent.name))
    return sorted(found)


def histories(output: str) -> list[tuple[str, tuple[str, ...]]]:
    """Task and statuses of each task whose events are in *output*."""
    events: dict[tuple[str, str], list[str]] = {}
    for line in output.splitlines():
        cells = line.split()
        if len(cells) > 4 and cells[0].count(":") == 2 and len(cells[3]) == 8:
            events.setdefault((cells[2], cells[3]), []).append(cells[1])
    return [(task, tuple(statuses)) for (task, _id), statuses in events.items()]


def test_demo_shows_the_sequences_and_leaves_nothing_running(
    demo: Callable[..., subprocess.Popen[str]], place: Path
) -> None:
    process = demo("--once")

    wait_until(lambda: len(running_in(place)) >= 5, seconds=SECONDS)
    output, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, output
    shown = histories(output)
    assert ("send_receipt", ("started", "finished")) in shown
    assert ("remind_cart", ("scheduled", "started", "finished")) in shown
    assert (
        "charge_card",
        ("started", "error-task", "retrying", "started", "finished"),
    ) in shown
    courier = ("started", "error-task", "retrying", "scheduled", "started", "finished")
    assert ("call_courier", courier) in shown
    assert ("sync_stock", ("started", "locked")) in shown
    report = ("scheduling-periodic", "started", "finished")
    assert ("nightly_report", report) in shown
    assert "DeclinedError: the card of order" in output
    assert "Every event is as the ledger of the load says." in output
    assert "differs" not in output
    assert running_in(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_stopped_demo_leaves_nothing_running(
    signum: signal.Signals,
    code: int,
    demo: Callable[..., subprocess.Popen[str]],
    place: Path,
) -> None:
    process = demo("--once")
    assert process.stdout is not None
    for line in process.stdout:
        if "started" in line:
            break

    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    output, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == code, output
    assert running_in(place) == []
    assert list(place.iterdir()) == []


def test_demo_whose_consumer_is_killed_says_so_and_leaves_nothing_running(
    demo: Callable[..., subprocess.Popen[str]], place: Path
) -> None:
    process = demo("--once")
    assert process.stdout is not None
    for line in process.stdout:
        if "started" in line:
            break
    # Its workers have the same command line, and another parent.
    (consumer,) = (
        pid for pid in children(process.pid) if b"\0consumer\0" in command_of(pid)
    )

    os.kill(consumer, signal.SIGKILL)
    output, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "the consumer ended: -9" in output
    wait_until(lambda: running_in(place) == [])
    assert list(place.iterdir()) == []


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
