"""`python -m runtime demo --once`, as a user types it."""

import contextlib
import math
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from huey_otel import events as e
from runtime import otlp_receiver as otlp
from runtime.demo.metrics import ExpectedCounts, quantile, read
from runtime.demo.traces import forwarding
from runtime.load.ledger import Expected
from tests.support.programs import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

SECONDS = 120


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

    def start(
        *options: str, stdout: int = subprocess.PIPE, **env: str
    ) -> subprocess.Popen[str]:
        # A terminal's Ctrl-C goes to the whole process group.
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", "demo", *options],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(place)} | env,
            stdout=stdout,
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
        with contextlib.suppress(ProcessLookupError):
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
    assert "Events and metrics are as the ledger of the load says." in output
    assert "differs" not in output
    assert running_in(place) == []
    assert list(place.iterdir()) == []


TREE = """
POST /order
└─ enqueue charge_card
   ├─ process charge_card attempt 1: error
   │  └─ bank.charge
   └─ process charge_card attempt 2: success
      ├─ bank.charge
      └─ enqueue send_receipt
         └─ process send_receipt attempt 1: success
""".strip()


def rows(table: str) -> dict[str, list[str]]:
    """The cells of each task in the table that *table* begins with."""
    found = {}
    for line in table.splitlines()[3:]:
        cells = line.split()
        if not cells or cells[-1] != "agrees":
            break
        found[cells[0]] = cells
    return found


def tree(output: str) -> str:
    """The trace in *output* without times, services and messages."""
    _, _, lines = output.partition("\nTrace ")
    shown = []
    for line in lines.splitlines()[2:]:
        span = re.match(r"(.*?) +[\d.]+ m?s +[\d.]+ m?s +shop", line)
        attempt = re.search(r"attempt \d: \w+", line)
        if span is None:
            break
        shown.append(f"{span[1]} {attempt[0]}" if attempt else span[1])
    return "\n".join(shown)


def test_demo_shows_events_metrics_and_a_trace_that_the_users_collector_has(
    demo: Callable[..., subprocess.Popen[str]],
) -> None:
    with otlp.receiver() as collector:
        output, _ = demo("--once", **collector.environ).communicate(timeout=SECONDS)

    parts = (
        "time  ",
        "\nWhat the listener saw",
        "\nWhat http://localhost:",
        "\nTrace ",
    )
    places = [output.index(part) for part in (*parts, "\nEvents and metrics are")]
    assert places == sorted(places), output
    listener, metrics = (rows(output[i:]) for i in places[1:3])
    assert listener.keys() == metrics.keys()
    assert metrics["charge_card"][:5] == listener["charge_card"][:5]
    assert metrics["charge_card"][-1] == "agrees"
    assert "queue depth 0, on the schedule 0" in output
    assert tree(output) == TREE
    trace = re.search(r"\nTrace (\w+)", output)
    assert trace is not None
    forwarded = [span for span in collector.spans if span.trace_id == trace[1]]
    assert len(forwarded) == len(TREE.splitlines())
    assert f"The spans are at {collector.endpoint}/v1/traces, too." in output


def test_a_terminal_of_80_columns_holds_every_line_and_heading(
    demo: Callable[..., subprocess.Popen[str]],
) -> None:
    ours, theirs = pty.openpty()
    process = demo("--once", stdout=theirs, TERM="xterm", COLUMNS="80", LINES="50")
    os.close(theirs)
    output = b""
    while chunk := read_terminal(ours):
        output += chunk

    assert process.wait(SECONDS) == 0, output
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80] == []
    # A wrapped line would leave a single word on the next one.
    assert [
        line for line in lines if re.fullmatch(r" *(Worker-\d|Scheduler) *", line)
    ] == []
    headings = [" ".join(line.split()) for line in lines]
    for heading in (
        "time event task id try seconds worker",
        "task started finished failed retried and ledger",
        "task started finished failed retried wait p95 duration p95 ledger",
        "span after lasts service",
    ):
        assert headings.count(heading) == 1
    assert (
        headings.count("ledger: agrees when the page counts what the load expects") == 1
    )


@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
def test_what_is_forwarded_arrives(protocol: str) -> None:
    request = otlp.Request()
    request.resource_spans.add().scope_spans.add().spans.add(name="charge")

    with otlp.receiver(protocol) as collector:
        with forwarding(collector.environ) as forward:
            assert forward is not None
            forward(request)
        assert [span.name for span in collector.spans] == ["charge"]

    assert (forward.delivered, forward.failed) == (1, 0)


@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
def test_what_cannot_be_forwarded_is_said(protocol: str) -> None:
    with (
        otlp.refusing(protocol) as collector,
        forwarding(collector.environ) as forward,
    ):
        assert forward is not None
        forward(otlp.Request())

    assert str(forward).startswith(f"1 requests did not reach {collector.endpoint}")


def test_nothing_is_forwarded_if_the_user_has_no_collector() -> None:
    with forwarding({}) as forward:
        assert forward is None


@pytest.mark.parametrize(
    ("buckets", "quantiles"),
    [
        ({}, None),
        ({0.1: 0, 0.5: 0, math.inf: 0}, None),
        ({0.1: 0, 0.5: 20, math.inf: 20}, 0.48),
        ({0.1: 10, 0.5: 20, math.inf: 20}, 0.46),
        ({0.1: 19, 0.5: 20, math.inf: 20}, 0.1),
        ({0.1: 10, 0.5: 18, math.inf: 20}, 0.5),
    ],
)
def test_quantile_is_that_of_prometheus(
    buckets: dict[float, float], quantiles: float | None
) -> None:
    assert quantile(0.95, buckets) == pytest.approx(quantiles)


def test_counts_on_the_page_that_differ_from_the_ledgers_are_named() -> None:
    done = (e.EVENT_STARTED, e.EVENT_FINISHED)
    counts = ExpectedCounts()
    counts.add([Expected(task="add", statuses=done, id="1")])
    counts.add([Expected(task="report", statuses=done, repeats=True)])
    page = """
huey_task_attempts_total{task="app.add"} 2
huey_tasks_finished_total{task="app.add",outcome="success"} 1
huey_task_attempts_total{task="app.report"} 3
huey_tasks_finished_total{task="app.report",outcome="success"} 2
"""

    differing = [str(each) for each in counts.differences(read(page))]

    assert differing == [
        "add: expected 1 started, 2 seen",
        "report: expected 3 finished, 2 seen",
    ]


def test_demo_on_a_terminal_refreshes_in_place_until_ctrl_c(
    demo: Callable[..., subprocess.Popen[str]], place: Path
) -> None:
    ours, theirs = pty.openpty()
    process = demo(stdout=theirs, TERM="xterm", COLUMNS="130", LINES="50")
    os.close(theirs)
    output = b""
    while b"bank.charge" not in output:
        output += os.read(ours, 65536)

    os.killpg(process.pid, signal.SIGINT)
    while chunk := read_terminal(ours):
        output += chunk

    assert process.wait(SECONDS) == 0, output
    one_line_up_and_erase = b"\x1b[1A\x1b[2K"
    assert one_line_up_and_erase in output
    text = output.decode()
    assert text.index("What http") < text.index("The last events")
    assert text.rindex("Trace ") < text.index("What the listener saw")
    assert running_in(place) == []
    assert list(place.iterdir()) == []


def read_terminal(terminal: int) -> bytes:
    """The next bytes; none at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        # Linux reports a terminal without its other side so.
        return b""


@pytest.mark.proof_but("SIGINT-130")
@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["SIGINT-130", "SIGTERM-143"],
)
def test_stopped_demo_leaves_nothing_running(
    signum: signal.Signals,
    code: int,
    demo: Callable[..., subprocess.Popen[str]],
    place: Path,
) -> None:
    process = demo("--once")
    wait_for_a_start(process)

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
    wait_for_a_start(process)
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


def wait_for_a_start(process: subprocess.Popen[str]) -> None:
    """Read what the demo prints until it says that a task was started."""
    assert process.stdout is not None
    for line in process.stdout:
        if "started" in line:
            return
