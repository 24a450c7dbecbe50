"""`python -m runtime consumer`: run huey's own consumer of an instrumented queue.

It decides what a process may decide and a library must not: the log, the meaning of
SIGTERM, what a restart executes, and exit codes.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from huey.constants import WORKER_GREENLET, WORKER_PROCESS
from huey.consumer_options import ConsumerConfig, OptionParserHandler, config_keys
from huey.exceptions import ConfigurationError

from huey_otel import instrument
from huey_otel.cli.application import NoHueyError, find_huey
from runtime import logs
from runtime.termination import finish_on_term

_TYPES = {"int": int, "float": float}


def main(argv: Sequence[str]) -> int:
    """Run a consumer with the options *argv*; return the exit code when it ends."""
    parser = _parser()
    given = vars(parser.parse_args(argv))
    path = given.pop("huey")
    if "graceful_signal" in config_keys:
        given.setdefault("graceful_signal", "TERM")
    config: Any = ConsumerConfig(**given)
    try:
        config.validate()
    except ValueError as error:
        parser.error(str(error))
    if config.worker_type == WORKER_GREENLET:
        _patch_for_greenlets(argv)
    logs.configure(
        level=config.loglevel,
        worker="processName" if config.worker_type == WORKER_PROCESS else "threadName",
        file=config.logfile,
        simple=bool(config.simple_log),
    )
    # At SIGHUP, huey executes sys.argv again, in which Python leaves out `-m runtime`.
    sys.argv = sys.orig_argv[1:]
    try:
        consumer = _prepared(path, config)
        consumer.run()
    except (ConfigurationError, NoHueyError, SetUpError) as error:
        sys.stderr.write(f"consumer: {error}\n")
        return 1
    return 0


def _prepared(path: str, config: Any) -> Any:
    """Instrument the queue at *path*, and return a consumer that is ready to run."""
    huey = find_huey(path)
    try:
        instrument(huey)
    except ValueError as error:
        raise SetUpError(str(error)) from error
    consumer = huey.create_consumer(**config.values)
    if "graceful_signal" not in config_keys:
        finish_on_term(consumer)
    return consumer


class SetUpError(Exception):
    """A consumer that cannot be set up; the text says why, and what is accepted."""


def _parser() -> argparse.ArgumentParser:
    """Accept the options of the installed huey's consumer."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime consumer",
        description="Run huey's consumer of an instrumented queue. SIGTERM lets "
        "running tasks finish, SIGINT interrupts them.",
    )
    parser.add_argument("huey", help="the Huey instance, such as runtime.shop.huey")
    of_huey = OptionParserHandler()
    for title, options in (
        ("workers", of_huey.get_worker_options()),
        ("scheduler", of_huey.get_scheduler_options()),
        ("logging", of_huey.get_logging_options()),
    ):
        group = parser.add_argument_group(title)
        for short, long, settings in options:
            if "type" in settings:
                settings["type"] = _TYPES[settings["type"]]
            group.add_argument(short, long, default=argparse.SUPPRESS, **settings)
    return parser


def _patch_for_greenlets(argv: Sequence[str]) -> None:
    """Restart under gevent's patches, which must precede the imports above."""
    try:
        from gevent import monkey
    except ImportError:
        sys.exit("consumer: --worker-type=greenlet needs gevent: pip install gevent")
    if monkey.is_module_patched("socket"):
        return
    patched = ["-m", "gevent.monkey", "--module", "runtime", "consumer", *argv]
    os.execv(sys.executable, [sys.executable, *patched])  # noqa: S606
