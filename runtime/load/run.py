"""`python -m runtime load`: put a mix of tasks on the shop's queue."""

import argparse
import itertools
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from huey.exceptions import ResultTimeout, TaskException
from redis.exceptions import RedisError

from runtime import arguments
from runtime.load.cases import Case
from runtime.load.ledger import Ledger
from runtime.load.mix import mix
from runtime.shop import huey


def main(argv: Sequence[str]) -> int:
    """Run the command with the arguments *argv*, and return its exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.endless and options.ledger is not None:
        parser.error("--endless: expected no --ledger, which would never be written")
    try:
        if options.endless:
            trickle(options)
        ledger = _one_mix(options, options.seed)
    except RedisError as error:
        sys.stderr.write(f"load: the queue cannot be reached: {error}\n")
        return 1
    except ResultTimeout:
        sys.stderr.write(
            f"load: no worker took a task in {options.wait:g} s: no consumer?\n"
        )
        return 1
    if options.ledger is not None:
        ledger.write(options.ledger)
    for line in ledger.lines():
        sys.stdout.write(f"{line}\n")
    return 0


def trickle(options: argparse.Namespace) -> NoReturn:
    """Enqueue one mix after another until SIGTERM or SIGINT ends the process."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        # An exception releases the locks that cases hold.
        signal.signal(signum, lambda *_received: sys.exit(0))
    for seed in itertools.count(options.seed):
        _one_mix(options, seed)
    raise AssertionError


def _one_mix(options: argparse.Namespace, seed: int) -> Ledger:
    return enqueue(mix(options.tasks, seed), rate=options.rate, wait=options.wait)


def enqueue(
    cases: Iterable[Case], *, rate: float | None = None, wait: float = 30.0
) -> Ledger:
    """Enqueue *cases*, at most *rate* a second, and return their ledger.

    First waits until each task whose lock a case holds has been refused. Raises
    ResultTimeout if that takes longer than *wait* seconds.
    """
    ledger = Ledger()
    with ExitStack() as locks:
        locked = []
        start = time.monotonic()
        for number, case in enumerate(cases):
            if rate is not None:
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
            if case.lock is not None:
                locks.enter_context(case.lock)
                locked.append(case)
            if case.revoked:
                huey.revoke(case.task)
            huey.enqueue(case.task)
            ledger.expected.extend(case.expected)
        deadline = time.monotonic() + wait
        for case in locked:
            _await_refusal(case, deadline - time.monotonic())
    return ledger


def _await_refusal(case: Case, seconds: float) -> None:
    try:
        huey.result(case.task.id, blocking=True, timeout=max(seconds, 0.001))
    except TaskException:
        return
    raise AssertionError(f"{case.task} ran although its lock was held")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime load",
        description="Put a mix of tasks on the queue of the shop at SHOP_REDIS_URL, "
        "and print which events are expected of each.",
    )
    parser.add_argument(
        "--tasks",
        type=arguments.count,
        default=40,
        metavar="N",
        help="how many to enqueue; some enqueue others (default: 40)",
    )
    parser.add_argument(
        "--rate",
        type=arguments.positive,
        metavar="PER_SECOND",
        help="how many a second (default: as fast as it goes)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed is the same mix (default: 1)"
    )
    parser.add_argument(
        "--endless",
        action="store_true",
        help="one mix after another, until SIGTERM or SIGINT",
    )
    parser.add_argument(
        "--wait",
        type=arguments.positive,
        default=30.0,
        metavar="SECONDS",
        help="how long a worker may take to refuse the tasks whose locks the load "
        "holds (default: 30)",
    )
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="write the ledger there, as JSON"
    )
    return parser
