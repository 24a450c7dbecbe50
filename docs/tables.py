"""Writes the tables of README.md and docs/ that come from the mapping.

`python docs/tables.py` rewrites what stands between the markers; a test holds
that nothing would change.
"""

import re
import sys
from pathlib import Path

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._catalog import CATALOG
from huey_otel.events import CONSTANTS
from huey_otel.mapping import Published, Row, Span

ROOT = Path(__file__).resolve().parent.parent
_CONSTANT_OF = {status: name for name, status in CONSTANTS.items()}


def _line(row: Row) -> str:
    also = ", ".join(f"`{key}`" for key in row.extra)
    published = "" if row.published is Published.ALWAYS else f" ({row.published.value})"
    return " | ".join(
        [
            f"`{_CONSTANT_OF[row.status]}`",
            f"`{row.status}`",
            row.when + published,
            also,
        ]
    )


def events() -> str:
    """The events, in the order of the mapping."""
    rows = [row for row in mapping.TABLE.values() if row.status in _CONSTANT_OF]
    head = "| constant | `status` | emitted when | further keys |\n|---|---|---|---|\n"
    return head + "\n".join(f"| {_line(row)} |" for row in rows)


def endings() -> str:
    """How a run can end, by the event that says so."""
    rows = [row for row in mapping.TABLE.values() if row.span is Span.END]
    head = (
        "| event | outcome of the run | of the task, when nothing follows |\n"
        "|---|---|---|\n"
    )
    return head + "\n".join(
        f"| `{row.status}` | {row.outcome} | {row.final} |" for row in rows
    )


def mappings() -> str:
    """The whole mapping: event, span, metrics."""
    rows = [row for row in mapping.TABLE.values() if row.status in _CONSTANT_OF]
    head = "| event | the attempt's span | metrics |\n|---|---|---|\n"
    return head + "\n".join(
        f"| `{row.status}` | {_span(row)} | {_moved(row)} |" for row in rows
    )


def _span(row: Row) -> str:
    if row.span is Span.NONE:
        return ""
    if row.span is Span.END and row.outcome is not None:
        return f"{row.span.value}, outcome `{row.outcome}`"
    return row.span.value


def _moved(row: Row) -> str:
    names = [f"`{name}`" for name in row.metrics]
    if row.outcome is not None and n.TASK_ATTEMPTS_FINISHED_TOTAL not in row.metrics:
        names.append(f"`{n.TASK_ATTEMPTS_FINISHED_TOTAL}{{outcome={row.outcome}}}`")
    elif row.outcome is None and row.final is not None:
        names.append(f"`{n.TASKS_FINISHED_TOTAL}{{outcome={row.final}}}`")
    return ", ".join(names)


def metrics() -> str:
    """Every metric, in the order of the page."""
    head = "| name | type | labels | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.help} |"
        for one in CATALOG.values()
    )


TABLES = {
    "events": events,
    "endings": endings,
    "mapping": mappings,
    "metrics": metrics,
}


def rewritten(text: str) -> str:
    """*text* with each table between its markers made anew."""
    for name, table in TABLES.items():
        text = _replaced(text, f"<!-- {name} -->\n", table(), f"\n<!-- /{name} -->")
    return text


def _replaced(text: str, begin: str, table: str, end: str) -> str:
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: begin + table + end, text, flags=re.DOTALL)


def documents() -> list[Path]:
    """The files that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


if __name__ == "__main__":
    for path in documents():
        before = path.read_text()
        after = rewritten(before)
        if after != before:
            path.write_text(after)
            sys.stdout.write(f"rewrote {path.relative_to(ROOT)}\n")
