"""Which events are shown: the flags, and whether an event is among what they name."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from huey_otel.events import CONSTANTS

_STATUSES: Final = sorted(CONSTANTS.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags; each may be repeated, and one of its values is enough."""
    group = parser.add_argument_group(
        "which events",
        "An event is shown if it fits all of these flags. Of a flag that is repeated,\n"
        "one value is enough.",
    )
    for flag, metavar, text in (
        (
            "--task",
            "GLOB",
            "tasks whose dotted path or name fits, as 'app.mail.*' or send",
        ),
        ("--status", "STATUS", f"one of {', '.join(_STATUSES)}"),
        ("--worker", "GLOB", "workers whose name fits, as 'Worker-*' or Scheduler"),
        ("--id", "ID", "a task's id, or the beginning of it"),
        ("--trace", "ID", "a trace's id, or the beginning of it"),
    ):
        group.add_argument(
            flag,
            action="append",
            metavar=metavar,
            help=text,
            choices=_STATUSES if flag == "--status" else None,
        )
    group.add_argument(
        "--errors", action="store_true", help="errors, lost tasks and timeouts"
    )


class Filters:
    """The flags that were given."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._errors: bool = options.errors
        self._flags: list[tuple[Iterable[str], _Matches, tuple[str, ...]]] = [
            (given, matches, keys)
            for given, matches, keys in (
                (options.task, fnmatchcase, ("name", "task")),
                (options.status, str.__eq__, ("status",)),
                (options.worker, fnmatchcase, ("worker",)),
                (options.id, str.startswith, ("id",)),
                (options.trace, str.startswith, ("trace_id",)),
            )
            if given
        ]

    def take(self, event: Mapping[str, Any]) -> bool:
        """Whether *event* is among what was asked for."""
        if self._errors and not event.get("error"):
            return False
        return all(
            any(
                matches(value, one)
                for key in keys
                if isinstance(value := event.get(key), str)
                for one in given
            )
            for given, matches, keys in self._flags
        )


_Matches = Callable[[str, str], bool]
