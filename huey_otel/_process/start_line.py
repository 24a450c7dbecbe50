"""The start line: a consumer logs where its telemetry goes when it starts."""

import logging
import textwrap
from collections.abc import Mapping
from typing import Final

from huey_otel import _names as n
from huey_otel._options.settings import Propagation
from huey_otel._safety.encodable import printable
from huey_otel._safety.version import version

_logger: Final = logging.getLogger(n.LOGGER)

_WIDTH: Final = 79
_MEANING: Final = {
    n.PROPAGATE_AUTO: "a task runs in the trace that enqueued it",
    n.PROPAGATE_CHILD: "a task always runs in the trace that enqueued it",
    n.PROPAGATE_LINK: "a task begins a trace with a link to its enqueue",
    n.PROPAGATE_NONE: "a task begins a trace of its own",
}


def log(queue: str, parts: Mapping[str, str]) -> None:
    """Log `text`; no passwords."""
    _logger.info("%s", text(queue, parts))


def text(queue: str, parts: Mapping[str, str]) -> str:
    """A line for each of *parts*, none wider than a terminal unless a word is."""
    lines = [f"huey-otel {version()} observes"]
    for name, value in {"queue": queue, **parts}.items():
        lines += textwrap.wrap(
            printable(f"{name}: {value}"),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def meaning_of(propagation: Propagation) -> str:
    """*propagation* in words."""
    if callable(propagation):
        return "chosen for each task by a callable"
    return f"{propagation}, {_MEANING[propagation]}"
