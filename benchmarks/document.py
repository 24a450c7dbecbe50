"""Writes docs/benchmarks.md."""

from collections.abc import Sequence
from typing import Final

from benchmarks.children import ROOT
from benchmarks.turns import table

PATH: Final = ROOT / "docs" / "benchmarks.md"
_BEGIN: Final = "<!-- long run -->\n"
_END: Final = "\n<!-- end of the long run -->"
_NONE: Final = "Not run yet."
_LONG_RUN: Final = (
    "## A long run\n\n`make bench-memory` writes this section, in a run of its own: a "
    "consumer with four worker processes, everything on at 100 %."
)

Promise = tuple[str, str, bool]
"""The promise, the measured value, and whether the promise holds."""

_HOW: Final = (
    "## How it was measured\n\n"
    "`make bench` writes this page in one run. `make cost` counts a task's "
    "instructions, which are the same on a busy machine.\n\n"
    "* **Fair.** What is compared runs in turns, and each round begins with another "
    "one. So other load on the machine hits all alike.\n"
    "* **Complete.** A round ends when everything is written and delivered. The CPU of "
    "every thread counts.\n"
    "* **Figures** are medians of rounds. The middle half is from the 25th to the "
    "75th percentile.\n"
    "* **Processors.** If there are two or more, the consumer has one of them, and "
    "Redis, the producers and the receivers have another.\n"
    "* **Everything goes where users send it:** events to Redis, spans over OTLP/HTTP "
    "to another process, huey.contrib.stats to SQLite (WAL), sentry-sdk with its "
    "default integrations and all traces to another process, with a transport queue "
    "that is long enough for all of them. No program subscribes to the events."
)


def text(setting: str, promises: Sequence[Promise], sections: Sequence[str]) -> str:
    """The document but for its long run; the first of *sections* is its answer."""
    return "\n\n".join(
        (
            "# What it costs",
            f"Measured {setting}",
            *sections[:1],
            "## Our budgets",
            promised(promises),
            *sections[1:],
            _HOW,
        )
    )


def write(text: str) -> None:
    """Replace the document, but keep the long run and what stands behind it by hand."""
    _, *kept = _parts(PATH.read_text()) if PATH.exists() else ("", _NONE, "")
    _write(text, *kept)


def keep_long_run(told: str) -> None:
    """Replace the text of the last long run by *told*."""
    text, _, by_hand = _parts(PATH.read_text())
    _write(text, told, by_hand)


def _write(text: str, long_run: str, by_hand: str) -> None:
    PATH.write_text(f"{text}\n\n{_LONG_RUN}\n\n{_BEGIN}{long_run}{_END}\n{by_hand}")


def _parts(document: str) -> tuple[str, str, str]:
    """What is measured, the text of the last long run, and what stands behind that."""
    text, heading, section = document.partition(f"\n\n{_LONG_RUN}")
    if not heading:
        return document.rstrip(), _NONE, ""
    long_run, _, by_hand = section.partition(_BEGIN)[2].partition(f"{_END}\n")
    return text, long_run, by_hand


def promised(promises: Sequence[Promise]) -> str:
    """All *promises* as a table."""
    rows = [
        [what, measured, "yes" if held else "**no**"]
        for what, measured, held in promises
    ]
    return table(["what must hold", "measured", "holds"], rows)
