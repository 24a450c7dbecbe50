"""`huey-otel check`: its arguments, what it prints, and its exit codes."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from huey_otel._safety.encodable import printable
from huey_otel.cli import target
from huey_otel.cli.check.codes import CODES
from huey_otel.cli.check.finding import Finding, Level
from huey_otel.cli.exit_codes import COULD_NOT_LOOK, DONE, FOUND
from huey_otel.cli.output import json_line, painted

HELP = "Say why a metric, an event or a trace is missing, and what to do about it."
EXAMPLE = """\
examples:
  huey-otel check app.huey                             an application: run it where
                                                       the consumer runs
  huey-otel check redis://cache:6379/0 --queue my-app  a queue, without its application
  huey-otel check localhost:9464                       a consumer, by its /metrics
  huey-otel check app.huey --json | jq '.findings[] | select(.level == "error")'

exit code: 0 no error found, 1 an error (with --strict also a warning), 2 could not look
"""

_COLOURS: Final = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "dim"}
_LEVELS: Final = max(map(len, Level))
_WIDTH: Final = max(map(len, CODES))
_LONGEST: Final = 1_000
_AN_HOUR: Final = 3_600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, and how findings are told."""
    target.add_arguments(parser, address=True)
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 for a warning as well"
    )
    parser.add_argument(
        "--listen",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="also listen to the queue's events for so long: 130 seconds show whether"
        " several consumers run the periodic tasks",
    )
    parser.add_argument("--json", action="store_true", help="print one object of JSON")


def seconds(text: str) -> float:
    """The number in *text*, at most an hour."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _AN_HOUR:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number of seconds from 0 to {_AN_HOUR}"
        )
    return number


def run(options: argparse.Namespace) -> int:
    """Look, and print what was found; the exit code."""
    found = target.target_of(options)
    # Opened late: they import all that an application may use, and may patch before.
    from huey_otel.cli.check import facts as _facts
    from huey_otel.cli.check import look

    facts = _facts.gather(found, options.listen)
    findings = look.findings(facts)
    seen = [look.looked_at(one) for one in facts]
    lines = [_json(findings, seen)] if options.json else _lines(findings, seen)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    bad = (Level.ERROR, Level.WARNING) if options.strict else (Level.ERROR,)
    if all(one.is_unseen for one in facts):
        return COULD_NOT_LOOK
    return FOUND if any(one.level in bad for one in findings) else DONE


def _lines(findings: Sequence[Finding], seen: Sequence[Sequence[str]]) -> list[str]:
    lines = []
    for one in findings:
        about = f"{one.queue}: " if one.queue else ""
        advice = "" if one.cannot_tell else f"; {CODES[one.code].advice}"
        text = _shown(f"{about}{one.text}")
        level = painted(f"{one.level:<{_LEVELS}}", _COLOURS[one.level])
        lines.append(f"{level}  {one.code:<{_WIDTH}}  {text}{advice}")
    if not findings:
        lines.append(painted("nothing found", "green"))
    for parts in seen:
        lines.append(painted(f"looked at {_shown('; '.join(parts))}", "dim"))
    return lines


def _shown(text: str) -> str:
    """*text* on one line of bounded length."""
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _json(findings: Sequence[Finding], seen: Sequence[Sequence[str]]) -> str:
    shown: list[dict[str, Any]] = [
        {
            "level": one.level,
            "code": one.code,
            "queue": one.queue or None,
            "text": one.text,
            "cannot_tell": one.cannot_tell,
            "advice": CODES[one.code].advice,
        }
        for one in findings
    ]
    return json_line({"findings": shown, "looked_at": seen})
