"""`python -m runtime demo`: everything started, shown, compared and ended."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from huey_otel import events as e
from runtime import arguments
from runtime.demo import processes
from runtime.demo.board import Board
from runtime.demo.books import Books
from runtime.demo.page import Page
from runtime.demo.processes import FailedError
from runtime.demo.screen import Screen, console
from runtime.demo.stage import UP, Stage
from runtime.demo.waiting import Stop, StoppedError
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

SOON = 5.0
"""Seconds until what has been heard is on the metrics page as well."""


def main(argv: Sequence[str]) -> int:
    """Run a demo as *argv* says; 0 if all was as the loads' ledgers say."""
    options = _parser().parse_args(argv)
    output = console()
    lasting = output.is_terminal and not options.once
    screen = Board(output) if lasting else Screen(output)
    stop = Stop()
    with stop.on_signals(), TemporaryDirectory(prefix="huey-otel-demo-") as name:
        place = Path(name)
        try:
            return _run(options, place, screen, stop)
        except (FailedError, StoppedError) as error:
            # A process may fail because of the signal that stops us.
            if stop.signum is None:
                screen.say(f"{error}\n{processes.complaints(place)}", "red")
                return 1
            if options.once:
                return 128 + stop.signum
            screen.summary()
            return 0


def _run(options: argparse.Namespace, place: Path, screen: Screen, stop: Stop) -> int:
    """Run loads, and show what came of them; 0 if it is what the ledgers say."""
    ledger = Ledger([*AT_START, *EACH_MINUTE])
    books = Books()
    books.add(ledger.expected)
    screen.heading()
    with screen.up(), ExitStack() as stack:
        stage = Stage(stack, place, screen, stop)
        page = _rounds(stage, place, options, ledger, books)
        stage.end_consumer()
        trace = stage.trace
    differences = ledger.differences(stage.heard)
    mismatches = books.mismatches(page)
    screen.summary(differences)
    screen.metrics(page, stage.url, mismatches)
    screen.trace(trace)
    if stage.forward is not None:
        screen.say(str(stage.forward), "red" if stage.forward.failed else "dim")
    if differences or mismatches or not trace:
        return 1
    screen.say("Events and metrics are as the ledger of the load says.", "green")
    return 0


def _rounds(
    stage: Stage, place: Path, options: argparse.Namespace, ledger: Ledger, books: Books
) -> Page:
    """Run one load, or one after the other until they leave what they must not.

    Gives the last metrics page. The *ledger* is of the last load, *books* of all.
    """
    seed = options.seed
    while True:
        expected = _load(stage, place, options, seed).expected
        ledger.expected += expected
        books.add(expected)
        agrees = stage.wait(
            lambda: not ledger.differences(stage.heard), options.seconds
        )
        page = stage.page(lambda page: not books.mismatches(page), SOON)
        if options.once or not agrees or books.mismatches(page):
            return page
        stage.clear()
        ledger.expected = list(EACH_MINUTE)
        seed += 1


def _load(stage: Stage, place: Path, options: argparse.Namespace, seed: int) -> Ledger:
    path = place / f"ledger-{seed}.json"
    load = stage.start(
        *("runtime.demo.web", str(options.tasks), str(seed)),
        *(str(options.seconds), str(path)),
    )
    ended = options.seconds + UP
    stage.need(lambda: load.poll() is not None, ended, "the load's end")
    if load.returncode != 0:
        raise FailedError(f"the load ended: {load.returncode}")
    return Ledger.read(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime demo",
        description="Start a server, a consumer of the shop's queue with two process "
        "workers, a listener and a load; show the events, the metrics and a trace, and "
        "compare them with what the load must leave. OTEL_EXPORTER_OTLP_ENDPOINT gets "
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
