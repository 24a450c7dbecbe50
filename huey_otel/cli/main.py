"""The command: its sub-commands, its exit codes, and how it ends when interrupted."""

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast

from huey_otel._names import DISTRIBUTION
from huey_otel._safety.redaction import masked, said
from huey_otel.cli import tail
from huey_otel.cli.check import command as check
from huey_otel.cli.exit_codes import COULD_NOT_LOOK, DONE, INTERRUPTED, PIPE_BROKEN
from huey_otel.cli.exporter import command as exporter
from huey_otel.cli.output import is_terminal, say
from huey_otel.cli.target import CannotLookError
from huey_otel.cli.top import command as top


class Command(Protocol):
    """A module that is a sub-command."""

    HELP: str
    """One sentence, for the list of sub-commands."""
    EXAMPLE: str
    """What to type, one line each, and what it does."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add what the sub-command takes."""

    def run(self, options: argparse.Namespace, /) -> int:
        """Do it, and return the exit code; CannotLookError says why that is 2."""


COMMANDS: Final[Mapping[str, Command]] = {
    "check": check,
    "exporter": exporter,
    "tail": tail,
    "top": top,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments *argv*; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    _make_output_ready()
    try:
        return _run(argv)
    except _UsageError as error:
        error.parser.print_usage(sys.stderr)
        say(_without_passwords(str(error), argv))
    except CannotLookError as error:
        say(str(error))
    except BrokenPipeError:
        _discard_output()
        return PIPE_BROKEN
    except OSError as error:
        _discard_output()
        say(said(error))
    except KeyboardInterrupt:
        if is_terminal():
            # The shell goes on below the "^C" of the terminal.
            sys.stdout.write("\n")
        # A line that was cut short.
        _discard_output()
        return INTERRUPTED
    return COULD_NOT_LOOK


def _run(argv: Sequence[str]) -> int:
    try:
        options = _parser().parse_args(argv)
    except SystemExit:
        # It has shown a help text, and does not mind if no one reads it.
        sys.stdout.flush()
        return DONE
    code: int = options.run(options)
    sys.stdout.flush()
    return code


def _make_output_ready() -> None:
    for name in ("stdout", "stderr"):
        # Python makes none for a stream that the shell has closed.
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for good
    # Each line is read at once by what follows in a pipe, and a character that the
    # terminal's encoding does not have is no error.
    out = cast("io.TextIOWrapper", sys.stdout)
    out.reconfigure(line_buffering=True, errors="backslashreplace")


class _UsageError(Exception):
    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(message)
        self.parser = parser


class _Parser(argparse.ArgumentParser):
    """Leaves to `main` what to say of a wrong argument."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(self, message)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        # It reads the distribution's metadata, which takes its time.
        from huey_otel._safety.version import version

        sys.stdout.write(f"{DISTRIBUTION} {version()}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=DISTRIBUTION,
        description="See what a huey task queue is doing, and why telemetry of it"
        " is missing.",
        epilog="Each command explains itself, as in: huey-otel tail --help",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show the version, and exit"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        own = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP,
            epilog=command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    return parser


def _without_passwords(message: str, argv: Sequence[str]) -> str:
    """*message* of argparse, which quotes arguments, without passwords of URLs."""
    for argument in argv:
        if "://" in argument or "@" in argument:
            for spelling in (argument, repr(argument)[1:-1]):
                message = message.replace(spelling, masked(argument))
    return message


def _discard_output() -> None:
    """Let Python flush at its end without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
