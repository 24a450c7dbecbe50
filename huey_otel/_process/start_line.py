"""The start line: what a consumer says of its telemetry when it starts."""

import logging
import textwrap
from collections.abc import Mapping
from typing import Final

from huey_otel import _names as n
from huey_otel._options.settings import Propagation
from huey_otel._safety.encodable import printable
from huey_otel._safety.version import version

logger: Final = logging.getLogger(n.LOGGER)

_WIDTH: Final = 79
_MEANING: Final = {
    n.PROPAGATE_AUTO: "a task runs in the trace that enqueued it",
    n.PROPAGATE_CHILD: "a task always runs in the trace that enqueued it",
    n.PROPAGATE_LINK: "a task begins a trace with a link to its enqueue",
    n.PROPAGATE_NONE: "a task begins a trace of its own",
}


def log(
    *,
    queue: str,
    page: str,
    events: str,
    spans: str,
    propagation: Propagation,
    periodic: bool,
) -> None:
    """Say in one record, a line for each part, where everything goes; no passwords."""
    logger.info(
        "%s",
        text(
            queue,
            {
                "metrics": page,
                "events": events,
                "spans": spans,
                "propagation": _said(propagation),
                "periodic tasks": "on" if periodic else "off",
            },
        ),
    )


def text(queue: str, parts: Mapping[str, str]) -> str:
    """The lines, none of which is wider than a terminal unless a word is."""
    lines = [f"huey-otel {version()} observes"]
    for name, said in {"queue": queue, **parts}.items():
        lines += textwrap.wrap(
            printable(f"{name}: {said}"),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _said(propagation: Propagation) -> str:
    if callable(propagation):
        return "chosen for each task by a callable"
    return f"{propagation}, {_MEANING[propagation]}"
