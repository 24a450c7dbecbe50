"""The command: run loads, show and compare their telemetry, and end everything."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from huey_otel import events as e
from runtime import arguments
from runtime.demo.metrics import ExpectedCounts, Page
from runtime.demo.processes import (
    FailedError,
    StoppedError,
    StopSignal,
    last_log_lines,
)
from runtime.demo.session import START_SECONDS, Session
from runtime.demo.terminal import LiveScreen, Screen, console
from runtime.load.ledger import Expected, Ledger

CHECK = (e.EVENT_CHECKING_PERIODIC,)
REPORT = (e.EVENT_SCHEDULING_PERIODIC, e.EVENT_STARTED, e.EVENT_FINISHED)
AT_START = (
    Expected(task=None, statuses=CHECK),
    Expected(task="nightly_report", statuses=REPORT),
)
EACH_MINUTE = (
    Expected(task=None, statuses=CHECK, repeats=True),
    Expected(task="nightly_report", statuses=REPORT, repeats=True),
)

PAGE_SECONDS = 30.0
"""Time until the metrics page counts the events that have arrived."""


def main(argv: Sequence[str]) -> int:
    """Run a demo; return 0 if events and metrics are as the ledgers expect."""
    options = _parser().parse_args(argv)
    output = console()
    live = output.is_terminal and not options.once
    screen = LiveScreen(output) if live else Screen(output)
    stop = StopSignal()
    with stop.handled(), TemporaryDirectory(prefix="huey-otel-demo-") as name:
        directory = Path(name)
        try:
            return _run(options, directory, screen, stop)
        except (FailedError, StoppedError) as error:
            # The signal may have made a process fail before our wait saw it.
            if stop.signum is None:
                screen.message(f"{error}\n{last_log_lines(directory)}", "red")
                return 1
            if options.once:
                return 128 + stop.signum
            screen.summary()
            return 0


def _run(
    options: argparse.Namespace, directory: Path, screen: Screen, stop: StopSignal
) -> int:
    ledger = Ledger([*AT_START, *EACH_MINUTE])
    counts = ExpectedCounts()
    counts.add(ledger.expected)
    screen.heading()
    with screen.showing(), ExitStack() as stack:
        session = Session(stack, directory, screen, stop)
        page = _rounds(session, directory, options, ledger, counts)
        session.end_consumer()
        trace = session.trace
    differences = ledger.differences(session.events)
    count_differences = counts.differences(page)
    screen.summary(differences)
    screen.metrics(page, session.metrics_url, count_differences)
    screen.trace(trace)
    forwarder = session.forwarder
    if forwarder is not None:
        screen.message(str(forwarder), "red" if forwarder.failed else "dim")
    if differences or count_differences or not trace:
        return 1
    screen.message("Events and metrics are as the ledger of the load says.", "green")
    return 0


def _rounds(
    session: Session,
    directory: Path,
    options: argparse.Namespace,
    ledger: Ledger,
    counts: ExpectedCounts,
) -> Page:
    """Run loads until one leaves other events or counts than expected; one if `--once`.

    Returns the last metrics page. Afterwards *ledger* expects the events of the last
    load, *counts* those of all loads.
    """
    seed = options.seed
    while True:
        expected = _load(session, directory, options, seed).expected
        ledger.expected += expected
        counts.add(expected)
        agrees = session.wait_until(
            lambda: not ledger.differences(session.events), options.seconds
        )
        page = session.read_page(
            lambda page: not counts.differences(page), PAGE_SECONDS
        )
        if options.once or not agrees or counts.differences(page):
            return page
        session.start_round()
        ledger.expected = list(EACH_MINUTE)
        seed += 1


def _load(
    session: Session, directory: Path, options: argparse.Namespace, seed: int
) -> Ledger:
    """Run the load *seed* to its end, and return its ledger."""
    path = directory / f"ledger-{seed}.json"
    load = session.start(
        *("runtime.demo.producer", str(options.tasks), str(seed)),
        *(str(options.seconds), str(path)),
    )
    seconds = options.seconds + START_SECONDS
    session.require(lambda: load.poll() is not None, seconds, "the load's end")
    if load.returncode != 0:
        raise FailedError(f"the load ended: {load.returncode}")
    return Ledger.read(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime demo",
        description="Start a server, a consumer of the shop's queue with two process "
        "workers, a listener and a load; show the events, the metrics and a trace, and "
        "compare them with what the load expects. OTEL_EXPORTER_OTLP_ENDPOINT gets "
        "the spans as well.",
    )
    parser.add_argument(
        "--once", action="store_true", help="one load, then end (else until Ctrl-C)"
    )
    parser.add_argument(
        "--tasks",
        type=arguments.count,
        default=40,
        metavar="N",
        help="how many tasks a load enqueues (default: 40)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first load (default: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=arguments.positive,
        default=60.0,
        help="how long a load, and then its events, may take (default: 60)",
    )
    return parser
