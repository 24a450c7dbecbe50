"""Writes the tables of README.md and docs/ that come from the mapping.

`python docs/tables.py` rewrites what stands between the markers; a test holds
that nothing would change.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.table import DISABLED, OPTIONS
from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from huey_otel._safety.losses import REASONS
from huey_otel.cli.check.codes import CODES, Symptom
from huey_otel.events import CONSTANTS
from huey_otel.mapping import Published, Row, Span

ROOT = Path(__file__).resolve().parent.parent
_CONSTANT_OF = {status: name for name, status in CONSTANTS.items()}


QUERIES = {
    n.TASKS_ENQUEUED_TOTAL: "sum by (task) (rate(huey_tasks_enqueued_total[5m]))",
    n.TASK_REQUEUES_TOTAL: "sum by (task, reason) (rate(huey_task_requeues_total[5m]))",
    n.TASK_ATTEMPTS_TOTAL: "sum by (task) (rate(huey_task_attempts_total[5m]))",
    n.TASK_ATTEMPTS_FINISHED_TOTAL: "sum by (outcome) (rate(huey_task_attempts_finished_total[5m]))",
    n.TASKS_FINISHED_TOTAL: 'topk(10, sum by (task) (increase(huey_tasks_finished_total{outcome="failure"}[1h])))',
    n.TASK_RETRIES_TOTAL: "sum by (task) (rate(huey_task_retries_total[5m]))",
    n.TASK_EXCEPTIONS_TOTAL: "topk(10, sum by (task, exception) (increase(huey_task_exceptions_total[1h])))",
    n.TASK_DURATION_SECONDS: "histogram_quantile(0.95, sum by (task, le) (rate(huey_task_duration_seconds_bucket[5m])))",
    n.TASK_WAIT_SECONDS: "histogram_quantile(0.95, sum by (queue, le) (rate(huey_task_wait_seconds_bucket[5m])))",
    n.TASK_SCHEDULE_DELAY_SECONDS: "histogram_quantile(0.95, sum by (queue, le) (rate(huey_task_schedule_delay_seconds_bucket[5m])))",
    n.TASKS_IN_PROGRESS: "sum by (task) (huey_tasks_in_progress) > 0",
    n.TASK_RUNNING_AGE: "max by (task) (huey_task_running_age_seconds) > 3600",
    n.TASK_LAST_STARTED: "time() - max by (task) (huey_task_last_started_timestamp_seconds)",
    n.TASK_LAST_SUCCESS: "time() - max by (task) (huey_task_last_success_timestamp_seconds)",
    n.TASK_LAST_FAILURE: "time() - max by (task) (huey_task_last_failure_timestamp_seconds) < 600",
    n.PERIODIC_INTERVAL: "max by (task) (huey_periodic_task_interval_seconds)",
    n.PERIODIC_NEXT_RUN: "max by (task) (huey_periodic_task_next_run_timestamp_seconds) - time()",
    n.QUEUE_LENGTH: "max by (queue) (huey_queue_length)",
    n.QUEUE_OLDEST_AGE: "max by (queue) (huey_queue_oldest_age_seconds) > 900",
    n.SCHEDULE_LENGTH: "max by (queue) (huey_schedule_length)",
    n.SCHEDULE_OVERDUE_AGE: "max by (queue) (huey_schedule_overdue_age_seconds) > 120",
    n.RESULTS: "deriv(queue:huey_results:max[1h]) > 0",
    n.STORAGE_UP: "max by (queue) (huey_storage_up) == 0",
    n.WORKERS: "sum by (queue) (huey_workers)",
    n.WORKERS_BUSY: "sum by (queue) (huey_workers) - sum by (queue) (huey_workers_busy)",
    n.WORKER_BUSY_SECONDS_TOTAL: "sum by (queue) (rate(huey_worker_busy_seconds_total[5m])) / sum by (queue) (huey_workers)",
    n.WORKERS_MEMORY: "sum by (queue) (huey_workers_resident_memory_bytes)",
    n.WORKER_RESTARTS_TOTAL: 'sum by (queue) (increase(huey_worker_restarts_total{reason="died"}[1h])) > 0',
    n.SCHEDULER_RESTARTS_TOTAL: "sum by (queue) (increase(huey_scheduler_restarts_total[1h])) > 0",
    n.CONSUMER_INFO: 'count by (queue) (huey_consumer_info{periodic="true"})',
    n.CONSUMER_START_TIME: "changes(huey_consumer_start_time_seconds[1h]) > 2",
    n.SCHEDULER_LAST_CHECK: "time() - max by (queue) (huey_scheduler_last_check_timestamp_seconds) > 180",
    n.CONSUMER_STUCK: "max by (queue, reason) (huey_consumer_stuck) == 1",
    n.CONSUMER_ERRORS_TOTAL: "sum by (queue, kind) (increase(huey_consumer_errors_total[1h])) > 0",
    n.EVENTS_TOTAL: "sum by (status) (rate(huey_events_total[5m]))",
    n.TELEMETRY_DROPPED_TOTAL: "sum by (queue, signal, reason) (increase(huey_telemetry_dropped_total[1h])) > 0",
}
"""A question to ask of each metric, in PromQL."""


FIRST = {
    "Which tasks fail most?": n.TASKS_FINISHED_TOTAL,
    "With which exceptions?": n.TASK_EXCEPTIONS_TOTAL,
    "How long do tasks wait before they run?": n.TASK_WAIT_SECONDS,
    "How long do they take?": n.TASK_DURATION_SECONDS,
    "How many tasks wait now?": n.QUEUE_LENGTH,
    "Which tasks have been running for over an hour?": n.TASK_RUNNING_AGE,
    "When did the nightly job last succeed, in seconds before now?": n.TASK_LAST_SUCCESS,
    "How many workers are idle?": n.WORKERS_BUSY,
    "Were workers killed?": n.WORKER_RESTARTS_TOTAL,
    "Is telemetry itself lost?": n.TELEMETRY_DROPPED_TOTAL,
}
"""What people ask first, and the metric whose query answers it."""


QUERIES_OF_THE_EXPORTER = {
    n.EXPORTER_UP: "huey_exporter_up == 0",
    n.EXPORTER_PAGES: 'sum by (queue, state) (huey_exporter_pages{state!~"live|ended"}) > 0',
    n.EXPORTER_PAGE_AGE: "max by (queue, consumer) (huey_exporter_page_age_seconds) > 60",
    n.EXPORTER_SERIES_SKIPPED: "huey_exporter_series_skipped > 0",
}
"""Likewise of what the exporter says of itself."""


_ALLOW = "[allow it](deploy.md#redis-and-its-access-lists)"
_WAIT_LONGER = "raise [`flush_timeout`](settings.md)"
_SPANS = "[what is lost](traces.md#what-is-lost)"

CURES = {
    n.LOSS_RELAY: "start more consumers, with fewer workers each",
    n.LOSS_FEED_FULL: "bring Redis back",
    n.LOSS_FEED_UNCONFIRMED: "find out why connections to Redis break",
    n.LOSS_FEED_REFUSED: _ALLOW,
    n.LOSS_FEED_REPLICA: "nothing: the publisher"
    " [has followed](events.md#a-planned-failover) to the new master",
    n.LOSS_FEED_SHUTDOWN: _WAIT_LONGER,
    n.LOSS_STREAM_REFUSED: f"{_ALLOW}, give Redis memory, or set `stream=` to another"
    " key",
    n.LOSS_LOGS: "the log line has the collector's answer: an address, a permission, a"
    " limit",
    n.LOSS_LOGS_FULL: "use a quicker collector",
    n.LOSS_LOGS_REJECTED: "the log line has the collector's answer; mostly a limit of"
    " the backend",
    n.LOSS_LOGS_SHUTDOWN: _WAIT_LONGER,
    n.LOSS_INTERRUPTED: "see whether your signal handler must raise",
    n.LOSS_INTERNAL: "read the log line: it names a metric of yours with one of our"
    " names, or shows an error that we should know about",
    n.LOSS_CARRIER: "the log line says what could not be read or written",
    n.LOSS_SPANS: _SPANS,
    n.LOSS_SPANS_UNENCODABLE: _SPANS,
    n.LOSS_SPANS_QUEUE_FULL: _SPANS,
    n.LOSS_SPANS_REJECTED: _SPANS,
    n.LOSS_GAUGES: "see whether the storage is well, and whether it"
    " [allows the questions](deploy.md#redis-and-its-access-lists)",
    n.LOSS_PAGE_REFUSED: f"{_ALLOW}, or give Redis memory",
    n.LOSS_PAGE_SHUTDOWN: _WAIT_LONGER,
}
"""What to do about each reason why telemetry is lost."""


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
    """How an attempt can end, by the event that says so."""
    rows = [row for row in mapping.TABLE.values() if row.span is Span.END]
    head = (
        "| event | outcome of the attempt | of the task, when nothing follows |\n"
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


def _in_cell(text: str) -> str:
    return text.replace("|", r"\|")


def options() -> str:
    """The options of `instrument`, and the variable that has no argument.

    Their documents are in the folder of this one.
    """
    head = "| setting | environment | default | what it does |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {f'`{one.name}`' if one.name in OPTIONS else ''} "
        f"| {f'`{one.variable}`' if one.variable else ''} "
        f"| {one.default_text} | {_in_cell(_here(one.purpose))} |"
        for one in (*OPTIONS.values(), DISABLED)
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


def _here(text: str) -> str:
    """*text*, whose links are those of the README, in a document of this folder."""
    named = re.sub(r"\[docs/(\w+)\.md\]", r"[\1]", text)
    return named.replace("(docs/", "(")


def metrics() -> str:
    """Every metric, in the order of the page."""
    head = "| name | type | labels | meaning | ask |\n|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{one.name}` | {one.type} | {', '.join(one.labels)} | {one.help} |"
        f" `{QUERIES[one.name]}` |"
        for one in CATALOG.values()
    )


def first() -> str:
    """What people ask first."""
    head = "| question | query |\n|---|---|\n"
    return head + "\n".join(
        f"| {question} | `{QUERIES[name]}` |" for question, name in FIRST.items()
    )


def exporter() -> str:
    """Every metric of the exporter's own."""
    head = "| name | type | labels | meaning | ask |\n|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{one.name}` | {one.type} | {', '.join(one.labels)} | {one.help} |"
        f" `{_in_cell(QUERIES_OF_THE_EXPORTER[one.name])}` |"
        for one in EXPORTER.values()
    )


def losses() -> str:
    """Every reason why telemetry is lost."""
    head = "| reason | signal | what was lost | what to do |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{reason}` | {loss.signal}{'' if loss.of_queue else ', no queue'} "
        f"| {loss.what} | {CURES[reason]} |"
        for reason, loss in REASONS.items()
    )


def findings() -> str:
    """What `huey-otel check` can find, by what people see of it."""
    head = "| cause | cure | `check` says |\n|---|---|---|\n"
    return "\n\n".join(
        f"## {symptom.value}\n\n{head}"
        + "\n".join(
            f"| {_begun(row.what)} | {_begun(row.advice)} "
            f"| `{code}`: {', '.join(row.levels)} |"
            for code, row in CODES.items()
            if row.symptom is symptom
        )
        for symptom in Symptom
    )


def _begun(text: str) -> str:
    """*text* as the begin of a cell."""
    return text[0].upper() + text[1:]


def provoked() -> str:
    """How the tests provoke each finding, in the words of their names."""
    ways: dict[str, list[str]] = {code: [] for code in CODES}
    for name in ("cli/check/test_*.py", "live/check/test_consumers.py"):
        for path in sorted((ROOT / "tests").glob(name)):
            for known in ast.parse(path.read_text()).body:
                if isinstance(known, ast.ClassDef):
                    words = re.findall("[A-Z][a-z]*", known.name)[1:]
                    ways["-".join(words).lower()] += _said_by(known.body)
    head = "| code | tried |\n|---|---|\n"
    return head + "\n".join(f"| `{code}` | {'; '.join(ways[code])} |" for code in ways)


def healthy() -> str:
    """The set-ups in which the tests hold that nothing is found."""
    body = ast.parse((ROOT / "tests/live/check/test_healthy.py").read_text()).body
    (kinds,) = [
        known.value.keys
        for known in body
        if isinstance(known, ast.AnnAssign) and isinstance(known.value, ast.Dict)
    ]
    works, *others = _said_by(body)
    works = f"{works}: {', '.join(ast.literal_eval(key) for key in kinds if key)}"
    return "\n".join(f"* {said}" for said in (works, *others))


def _said_by(body: list[ast.stmt]) -> Iterator[str]:
    """What tests are about: their docstrings, or the sentences that name them."""
    for test in body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            told = ast.get_docstring(test)
            said = told or test.name.removeprefix("test_").replace("_", " ")
            yield said.rstrip(".")


def costs() -> str:
    """What benchmarks.md has of a task that does nothing, and of tasks that wait."""
    measured = (ROOT / "docs" / "benchmarks.md").read_text()
    waits = _table_of(measured, "## What your task loses")
    names, lost = waits[0][2:], {row[0]: row[2:] for row in waits[1:]}
    nothing = _table_of(measured, "## A task that does nothing")
    more = {row[0]: row[3] for row in nothing[1:]}
    head = "| | CPU, µs more | no wait | 10 ms | 100 ms |\n|---|---:|---:|---:|---:|\n"
    others = {"huey.contrib.stats", "sentry-sdk"}
    return head + "\n".join(
        f"| {name if name in others else f'huey-otel, {name}'} "
        f"| {' | '.join((more[name], *parts))} |"
        for name, *parts in zip(
            names, lost["nothing"], lost["10 ms"], lost["100 ms"], strict=True
        )
    )


def _table_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below *heading*, its head first."""
    rows = []
    for line in text.partition(heading)[2].lstrip().splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [row for row in rows if not row[0].startswith("---")]


TABLES = {
    "costs": costs,
    "findings": findings,
    "provoked": provoked,
    "healthy": healthy,
    "losses": losses,
    "events": events,
    "endings": endings,
    "mapping": mappings,
    "first": first,
    "metrics": metrics,
    "exporter": exporter,
    "options": options,
}


def rewritten(text: str) -> str:
    """Replace each table between its markers in *text*."""
    for name, table in TABLES.items():
        text = _replaced(text, f"<!-- {name} -->\n", table(), f"<!-- /{name} -->")
    return text


def _replaced(text: str, begin: str, table: str, end: str) -> str:
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}{table}\n{end}", text, flags=re.DOTALL)


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
