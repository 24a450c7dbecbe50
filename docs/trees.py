"""Writes the trees of docs/traces.md: each shape of work as a collector gets it.

`python -m docs.trees` runs docs/shapes.py on a consumer with a worker process,
receives the spans over OTLP, and rewrites what stands between the markers; a
test holds that nothing would change.
"""

import re
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runtime import otlp_receiver as otlp
from runtime.demo.processes import end, environ, last_log_lines, python, server
from runtime.demo.traces import branches, is_attempt
from runtime.otlp_receiver import Span

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "traces.md"
OPTIONS = ("-k", "process", "-w", "1", "-d", "0.02", "-m", "0.1", "-c", "0.2")
# Shapes that no span of the application is above, by the name of their root.
ROOTS = {
    "enqueue group": "group with nothing current",
    "process docs.shapes.nightly": "periodic",
}

# Of what is longer, only this many lines of the beginning and the end are shown.
LONGEST, FIRST, LAST = 20, 5, 2


def received() -> list[Span]:
    """Run every shape; all spans that arrived by the end of the consumer."""
    with (
        tempfile.TemporaryDirectory() as directory,
        server(Path(directory)) as url,
        otlp.receiver() as receiver,
    ):
        place = Path(directory)
        env = {
            **environ(receiver.endpoint),
            "HUEY_OTEL_METRICS_PORT": "0",
            "HUEY_OTEL_FLUSH_TIMEOUT": "20",
            "SHAPES_QUEUE_URL": url,
        }
        consumer = ("huey.bin.huey_consumer", "docs.shapes.huey", *OPTIONS)
        with (
            python(*consumer, directory=place, env=env) as running,
            python("docs.shapes", directory=place, env=env) as producer,
        ):
            try:
                code = producer.wait(100)
            except subprocess.TimeoutExpired:
                code = None
            if (code, end(running)) != (0, 0):
                raise SystemExit(f"no end in peace\n{last_log_lines(place)}")
        return receiver.spans


def trees(spans: Sequence[Span]) -> dict[str, str]:
    """The trees of each shape, by its name; traces that are linked belong together."""
    found = {}
    for span in spans:
        name = ROOTS.get(span.name)
        if span.name.startswith("POST /"):
            name = span.name.removeprefix("POST /").replace("-", " ")
        if name is not None:
            found[name] = _drawn(_related(spans, span.trace_id))
    return found


def _related(spans: Sequence[Span], trace_id: str) -> list[list[Span]]:
    """The trace, and those that link into it, by the time of their beginning."""
    known = {trace_id}
    size = 0
    while size != len(known):
        size = len(known)
        known |= {
            span.trace_id
            for span in spans
            if any(link.trace_id in known for link in span.links)
        }
    traces = [[span for span in spans if span.trace_id == one] for one in known]
    return sorted(traces, key=lambda trace: min(span.start for span in trace))


def _drawn(traces: Sequence[Sequence[Span]]) -> str:
    wanted = {link.span_id for trace in traces for span in trace for link in span.links}
    lines = [list(branches(trace)) for trace in traces]
    order = [span for trace in lines for _, span in trace if span.span_id in wanted]
    letters = dict(
        zip((span.span_id for span in order), string.ascii_lowercase, strict=False)
    )
    drawn = []
    for trace in lines:
        width = max(len(line + _short(span)) for line, span in _shown(trace)) + 2
        drawn.append("\n".join(_lines(trace, letters, width)))
    return "\n\n".join(drawn)


def _shown(trace: Sequence[tuple[str, Span]]) -> Iterable[tuple[str, Span]]:
    if len(trace) <= LONGEST:
        return trace
    ending = [
        ("   " * (FIRST + number) + "└─ ", span)
        for number, (_, span) in enumerate(trace[-LAST:])
    ]
    return [*trace[:FIRST], *ending]


def _lines(
    trace: Sequence[tuple[str, Span]], letters: dict[str, str], width: int
) -> Iterator[str]:
    for number, (line, span) in enumerate(_shown(trace)):
        if len(trace) > LONGEST and number == FIRST:
            yield "   " * (FIRST - 1) + f"└─ … {len(trace) - FIRST - LAST} more"
        said = ", ".join(_said(span, letters))
        yield f"{line + _short(span):{width}}{said}".rstrip()


def _short(span: Span) -> str:
    return span.name.replace("docs.shapes.", "")


def _said(span: Span, letters: dict[str, str]) -> Iterator[str]:
    if span.span_id in letters:
        yield f"({letters[span.span_id]})"
    if is_attempt(span):
        error = span.attributes.get("error.type")
        outcome = span.attributes["huey.task.outcome"]
        attempt = span.attributes["huey.task.attempt"]
        yield f"attempt {attempt}: {outcome}" + (
            f" {error}" if error not in (None, outcome) else ""
        )
    if span.links:
        to = ", ".join(letters.get(link.span_id, "?") for link in span.links)
        yield f"linked to {to}"


def rewritten(text: str, found: dict[str, str]) -> str:
    """Replace each tree between its markers in *text*."""
    for name, tree in found.items():
        begin, close = f"<!-- shape: {name} -->\n", f"\n<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(close.strip())
        block = f"{begin}```\n{tree}\n```{close}"
        text, number = re.subn(pattern, lambda _, b=block: b, text, flags=re.DOTALL)
        if number != 1:
            raise SystemExit(f"{DOCUMENT.name} has {number} places for {name!r}")
    return text


if __name__ == "__main__":
    before = DOCUMENT.read_text()
    after = rewritten(before, trees(received()))
    if after != before:
        DOCUMENT.write_text(after)
        sys.stdout.write(f"rewrote {DOCUMENT.relative_to(ROOT)}\n")
