"""`huey-otel top`: its arguments, and what it does until `q`."""

import argparse
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from huey_otel._safety.redaction import shown
from huey_otel.cli import target
from huey_otel.cli.exit_codes import DONE
from huey_otel.cli.output import is_terminal, json_line, say

if TYPE_CHECKING:
    from huey_otel.cli.top.looking import Looking
    from huey_otel.cli.top.terminal import Terminal

HELP = "Show on one screen what a queue is doing, and what is wrong with it."
EXAMPLE = """\
What waits, hangs and fails comes first. Redis says what waits. The consumers say the
rest: what runs and how often with HUEY_OTEL_PUBLISH_METRICS=on, what fails with
HUEY_OTEL_STREAM=on. Into a file or a pipe it is one line of JSON for each queue.

  q quit or back      /  filter the tasks by a part of their names
  e the last errors   t  the traceback of the newest or the chosen one
  j k choose, scroll  Tab  the next queue

examples:
  huey-otel top app.huey
  huey-otel top redis://cache:6379 --queue my-app
  huey-otel top app.huey --json | jq .backlog.waiting
"""

INTERVAL: Final = 1.0
"""Seconds between two looks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target."""
    target.add_arguments(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="one line of JSON for each queue, on a terminal as well",
    )


def run(options: argparse.Namespace) -> int:
    """Show the screen until `q` is pressed, or print what is known once."""
    if options.json or not is_terminal() or os.environ.get("TERM") == "dumb":
        return _print(options)
    from huey_otel.cli.top.screen import connecting
    from huey_otel.cli.top.terminal import Terminal

    with Terminal() as terminal:
        # Before redis is imported, which takes longer than all else here.
        name = ", ".join(options.queue)
        frame = connecting(name, shown(options.target), *terminal.size)
        terminal.show(frame)
        # An application before what it may let gevent patch.
        found = target.target_of(options)
        from huey_otel.cli.top.looking import Looking

        with Looking(found) as looking:
            _show(terminal, looking)
    return DONE


def _show(terminal: "Terminal", looking: "Looking") -> None:
    from huey_otel.cli.top.screen import lines_of, most_scrolled
    from huey_otel.cli.top.tables import failures_in
    from huey_otel.cli.top.view import View

    view = View(queues=len(looking.queues), keys=terminal.has_keys)
    looking.begin(INTERVAL, terminal.wake)
    while not view.ended:
        snapshot = looking.latest(view.queue)
        if not terminal.has_more:
            terminal.show(lines_of(snapshot, view, *terminal.size))
        key = terminal.key(INTERVAL)
        if key:
            most = most_scrolled(snapshot, view, *terminal.size)
            failures = failures_in(snapshot, view)
            view = view.after(key, failures=failures, most=most)
            looking.look_at(view.queue)


def _print(options: argparse.Namespace) -> int:
    found = target.target_of(options)
    from huey_otel.cli.top.looking import Looking

    with Looking(found) as looking:
        for snapshot in looking.once():
            for why in snapshot.unknown.texts:
                say(why)
            sys.stdout.write(f"{json_line(asdict(snapshot))}\n")
    return DONE
