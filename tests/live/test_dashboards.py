"""Every query of the dashboards on a real Prometheus, against the ledger of the load.

Prometheus reads the consumers' own pages, and another one the exporter's page of them.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from huey_otel import events as e
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from runtime import otlp_receiver as otlp
from runtime.load.ledger import Expected, Ledger
from runtime.load.mix import weights
from tests.live.panels import CHOSEN, Ask, LedgerCounts
from tests.live.processes import Program
from tests.live.scraping import Prometheus, metrics, samples, serves, value
from tests.support.dashboards import QUERIES, Query
from tests.support.programs import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

FAILURES = ("failure", "timeout", "lost")
TIMED = (e.EVENT_FINISHED, e.EVENT_ERROR_TASK, e.EVENT_TIMEOUT)
WINDOW = 6
"""Seconds that a rate looks back: several scrapes, as a busy machine may miss one."""

LONG = 600
"""Seconds that a task takes which is to keep its worker busy until the test is over."""


def overview(panel: str, ref: str = "A") -> Query:
    return Query("overview", panel, ref)


def check_success(ask: Ask, counts: LedgerCounts) -> None:
    text = ask.text(overview("Success"))
    success, ran = counts.finished("success"), counts.finished("success", *FAILURES)
    seen = ask(text)[()]
    ledger = {"": f"{success / ran:.4f}"}
    ask.report(overview("Success"), text, {"": f"{seen:.4f}"}, ledger)
    assert seen == pytest.approx(success / ran, rel=0.005)


def check_failed(ask: Ask, counts: LedgerCounts) -> None:
    ask.agrees(overview("Failed"), ledger={"": counts.finished(*FAILURES)})


def check_throughput(ask: Ask, counts: LedgerCounts) -> None:
    outcomes = counts.outcomes()
    for ref, those in (("A", {"success"}), ("B", {*FAILURES})):
        ledger = {name: outcomes.pop(name, 0) for name in those}
        query = overview("Throughput by outcome", ref)
        ask.agrees(query, "outcome", ledger=ledger)
    ask.agrees(overview("Throughput by outcome", "C"), "outcome", ledger=outcomes)


def check_failing(ask: Ask, counts: LedgerCounts) -> None:
    by_task: dict[str, int] = {}
    for (task, outcome), number in counts.ends.items():
        if outcome in FAILURES:
            by_task[f"shop {task}"] = by_task.get(f"shop {task}", 0) + number
    ask.agrees(overview("Failing tasks"), "queue", "task", ledger=by_task)
    assert len(by_task) < 10
    ask.agrees(
        overview("Failures by task"),
        *("queue", "task"),
        ledger=by_task,
    )


def check_waits(ask: Ask, counts: LedgerCounts) -> None:
    query = overview("Where the time goes", "D")
    started, timed = counts.times(e.EVENT_STARTED), counts.times(*TIMED)
    ask.quantiles(query, WAIT_BUCKETS, started, timed)


def check_runs(ask: Ask, counts: LedgerCounts) -> None:
    query = overview("Where the time goes", "C")
    timed = counts.times(*TIMED)
    p95s = ask.quantiles(query, DURATION_BUCKETS, timed, timed)

    # It sleeps for 0.2 s, which is in the bucket from 0.185 to 0.23 or, on a machine
    # that is busy, in a later one.
    assert p95s["resize_photo",] > 0.185


def check_retries(ask: Ask, counts: LedgerCounts) -> None:
    retried = counts.times(e.EVENT_RETRYING)
    assert len(retried) < 7
    ask.agrees(overview("Retries"), "task", ledger=retried)


def check_one_task(ask: Ask, counts: LedgerCounts) -> None:
    short = CHOSEN["task"].rpartition(".")[2]
    ends = {
        outcome: number
        for (task, outcome), number in counts.ends.items()
        if task == short
    }
    failed = sum(ends.get(outcome, 0) for outcome in FAILURES)
    ask.agrees(Query("task", "Runs"), ledger={"": sum(ends.values())})
    ask.agrees(Query("task", "Failed"), ledger={"": failed})
    query = Query("task", "Runs by outcome")
    ask.agrees(query, "outcome", ledger={"success": ends["success"]})


def check_pending(ask: Ask, counts: LedgerCounts) -> None:
    pending = counts.last(None).total()
    ask.agrees(overview("Pending"), ledger={"": pending})
    ask.agrees(overview("Backlog"), "queue", ledger={"shop": pending})
    scheduled = counts.last(e.EVENT_SCHEDULED).total()
    ask.agrees(overview("Backlog", "B"), ledger={"": scheduled})


def check_busy(ask: Ask, counts: LedgerCounts) -> None:
    # All six workers of both consumers.
    assert counts.last(e.EVENT_STARTED).total() == 6
    query = Query("consumers", "Busy workers", "C")
    ask.agrees(query, ledger={"": 6})
    for query in (overview("Workers busy"), overview("Workers busy by queue")):
        text = ask.text(query)
        (seen,) = ask(text).values()
        ask.report(query, text, {"": f"{seen:.2f}"}, {"": "some"})
        # Rates look back to when the workers were idle.
        assert 0 < seen < 1.1
    ask.agrees(Query("consumers", "Telemetry dropped"), ledger={})


def check_ages(ask: Ask, counts: LedgerCounts) -> None:
    waits, runs = overview("Oldest wait by queue"), overview("Running longest")
    (((queue,), waited),) = ask(ask.text(waits), "queue").items()
    (((task,), ran),) = ask(ask.text(runs), "task").items()
    seen, most = (f"{waited:.1f} s", f"{ran:.1f} s"), f"< {LONG} s"
    ask.report(waits, ask.text(waits), {queue: seen[0]}, {queue: most})
    ask.report(runs, ask.text(runs), {task: seen[1]}, {task: most})
    assert (queue, task) == ("shop", "resize_photo")
    assert 0 < waited < LONG
    assert 0 < ran < LONG
    # What is on the schedule is due in minutes.
    ask.agrees(overview("Oldest wait by queue", "B"), ledger={})


def check_periodic(ask: Ask, counts: LedgerCounts) -> None:
    # No consumer of these schedules: who would do so knows the next run.
    assert ask(ask.text(overview("Periodic tasks", "D"))) == {}
    text = ask.text(overview("Periodic tasks"))
    assert ask(text, "task") == {("nightly_report",): 1}
    text = ask.text(overview("Periodic tasks", "E"))
    assert ask(text, "task") == {("nightly_report",): 86_400}


def check_consumers(ask: Ask, counts: LedgerCounts) -> None:
    assert ask(ask.text(overview("Consumers", "A"))) == {(): 2}
    assert ask(ask.text(overview("Consumers", "B"))) == {}
    rows = ask(ask.text(Query("consumers", "Consumers", "D")), "name", "queue")
    assert sorted(rows.values()) == [2, 4]
    # Both run with --no-periodic.
    query = Query("consumers", "Queues without one scheduler")
    assert ask(ask.text(query)) == {(): 1}


AFTER_THE_LOAD = (
    *(check_success, check_failed, check_throughput, check_failing),
    *(check_waits, check_runs, check_retries, check_one_task),
)
WHILE_BUSY = (
    *(check_pending, check_busy, check_ages, check_periodic, check_consumers),
)

WITHOUT_DATA = {
    # There are no rules, and no more tasks or consumers than are shown.
    overview("Alerts"),
    overview("Firing alerts"),
    overview("Exceptions by class", "B"),
    overview("Retries", "B"),
    overview("Failures by task", "B"),
    Query("consumers", "Busy workers", "B"),
    # Nobody schedules periodic tasks, so none has run.
    overview("Periodic tasks", "B"),
    overview("Periodic tasks", "C"),
    overview("Periodic tasks", "D"),
    Query("consumers", "Consumers", "C"),
    Query("consumers", "Scheduler's last look"),
    # All is well.
    Query("consumers", "Worker restarts"),
    Query("consumers", "Worker restarts", "B"),
    Query("consumers", "Consumer errors by kind"),
    Query("consumers", "Telemetry dropped by reason"),
}
ONLY_ELSEWHERE = {
    # Pages are in Redis.
    "endpoints": {Query("consumers", "Up and down", "B")},
    # It shows ours alone, and not what prometheus_client says of the process.
    "exporter": {Query("consumers", "Memory")},
}


@pytest.fixture
def python(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[..., Program]:
    """Starts Python with these arguments, on the shop's queue."""
    started: list[Program] = []

    def start(*arguments: str, **environ: str) -> Program:
        program = Program(
            *arguments,
            log=tmp_path / f"python-{len(started)}.log",
            environ={"SHOP_REDIS_URL": redis_url} | environ,
        )
        started.append(program)
        keep(program)
        return program

    return start


class Consumers:
    """Both consumers, and what they have counted."""

    def __init__(self, python: Callable[..., Program], **environ: str) -> None:
        self.ports = (free_port(), free_port())
        self._python = python
        self._environ = environ

    def start(self, number: int, kind: str, workers: int) -> None:
        port = self.ports[number]
        self._python(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "--no-periodic"),
            *("-k", kind, "-w", str(workers), "-s", "1", "-m", "0.1"),
            HUEY_OTEL_METRICS_PORT=str(port),
            **self._environ,
        )
        wait_until(lambda: serves(port))

    def finished(self) -> float:
        """How many finished tasks the first consumer's page counts."""
        page = samples(metrics(self.ports[0])).items()
        return sum(
            number for (name, _), number in page if name == "huey_tasks_finished_total"
        )


class Viewer:
    """A Prometheus that reads some pages, and when it saw what."""

    def __init__(self, shape: str, prometheus: Prometheus) -> None:
        self.shape = shape
        self.prometheus = prometheus
        self.start = self.end = 0.0

    def scraped(self, total: int) -> float:
        """The time of a scrape that counts *total* finished tasks."""
        return self.moment("max", {"sum(huey_tasks_finished_total)": total})

    def moment(self, of: str, wanted: Mapping[str, float]) -> float:
        """Wait for the latest (max) or the earliest scrape to have these values."""
        moment = 0.0

        def has_all() -> bool:
            nonlocal moment
            time = f"{of}(timestamp(huey_workers))"
            moment = self.prometheus.values(time).get((), 0.0)
            return all(
                self.prometheus.values(query, at=moment) == {(): number}
                for query, number in wanted.items()
            )

        wait_until(has_all)
        return moment

    def ask(self, at: float, seconds: float) -> Ask:
        return Ask(shape=self.shape, prometheus=self.prometheus, at=at, seconds=seconds)


@pytest.mark.timeout(240)
def test_every_panel_says_what_the_ledger_says(
    python: Callable[..., Program],
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    with otlp.receiver() as receiver:
        environ = {
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "HUEY_OTEL_PUBLISH_METRICS": "1",
            **receiver.environ,
        }
        consumers = Consumers(python, **environ)
        page_of_all = free_port()
        python(
            *("-m", "huey_otel", "exporter", "--redis", redis_url, "--queue", "shop"),
            *("--port", str(page_of_all)),
        )

        def viewer(shape: str, *ports: int) -> Viewer:
            made = Prometheus(tmp_path / shape, *ports)
            keep(made)
            return Viewer(shape, made)

        viewers = (
            viewer("endpoints", *consumers.ports),
            viewer("exporter", page_of_all),
        )
        consumers.start(0, "process", 4)
        for one in viewers:
            one.prometheus.wait_until_ready()

        def load(tasks: int, seed: int) -> Ledger:
            path = tmp_path / f"ledger-{seed}.json"
            arguments = ("--tasks", str(tasks), "--seed", str(seed))
            program = python("-m", "runtime", "load", *arguments, "--ledger", str(path))
            assert program.wait() == 0
            return Ledger.read(path)

        # A series that begins with its first count has no rate yet.
        total = LedgerCounts(load(len(weights()), seed=1)).finished()
        wait_until(lambda: consumers.finished() == total)
        for one in viewers:
            one.start = one.scraped(total)
        counts = LedgerCounts(load(60, seed=2))
        total += counts.finished()
        wait_until(lambda: consumers.finished() == total)
        for one in viewers:
            one.end = one.scraped(total)
            ask = one.ask(one.end, one.end - one.start)
            for check in AFTER_THE_LOAD:
                check(ask, counts)
            check_exemplars(ask, receiver)

        busy = LedgerCounts(keep_busy(python, consumers))
        for one in viewers:
            at = one.moment("min", BUSY)
            ask = one.ask(at, WINDOW)
            for check in WHILE_BUSY:
                check(ask, busy)
            expected = WITHOUT_DATA | ONLY_ELSEWHERE[one.shape]
            assert set(without_data(one, at)) == expected, one.shape


def without_data(viewer: Viewer, at: float) -> Iterator[Query]:
    """Ask every query; those that have no answer."""
    # One that fails and is retried, one that is refused, and one that is running.
    names = ("charge_card", "sync_stock", "resize_photo")
    tasks = tuple(f"runtime.shop.tasks.{name}" for name in names)
    for query in QUERIES:
        texts = (
            query.text(seconds=120, rate=60, **CHOSEN | {"task": task})
            for task in tasks
        )
        if not any(viewer.prometheus.answers(text, at=at) for text in texts):
            yield query


def check_exemplars(ask: Ask, receiver: otlp.Receiver) -> None:
    shown = [query for query in QUERIES if query.target["exemplar"]]
    assert {(query.dashboard, query.panel) for query in shown} == {
        ("overview", "How long attempts waited"),
        ("task", "Run percentiles"),
        ("task", "Wait percentiles"),
        ("task", "Run times"),
        ("task", "Wait times"),
    }
    for query in shown:
        text = query.text(**CHOSEN)
        found = ask.prometheus.exemplars(text)
        traces = {exemplar["trace_id"] for exemplar in found}
        assert len(traces) >= (6 if query.dashboard == "overview" else 1)
        wait_until(lambda t=traces: t <= {span.trace_id for span in receiver.spans})
        sys.stdout.write(
            f"\n{ask.shape}, {' '.join(query)}: {len(traces)} traces by exemplar, "
            "all received\n"
        )


BUSY = {
    "sum(huey_tasks_in_progress)": 6,
    "min(huey_queue_length)": 3,
    "count(huey_consumer_info)": 2,
    # All workers are busy for longer than a rate looks back.
    f"min(huey_task_running_age_seconds) > bool {WINDOW + 2}": 1,
}


def keep_busy(python: Callable[..., Program], consumers: Consumers) -> Ledger:
    """Keep both consumers busy and more tasks waiting; the gauges to expect."""
    consumers.start(1, "thread", 2)

    def enqueue(line: str) -> None:
        program = python("-c", f"from runtime.shop.tasks import *; {line}")
        assert program.wait() == 0

    def first(name: str) -> float | None:
        return value(metrics(consumers.ports[0]), name, queue="shop")

    # A reminder that no worker has taken is on the queue, and not on the schedule.
    enqueue("[remind_cart.schedule((n,), delay=600) for n in range(2)]")
    wait_until(lambda: first("huey_schedule_length") == 2)
    enqueue(f"[resize_photo('photo', n, {LONG}) for n in range(9)]")
    running = Expected(task="resize_photo", statuses=(e.EVENT_STARTED,))
    waiting = Expected(task="resize_photo", statuses=())
    later = Expected(task="remind_cart", statuses=(e.EVENT_SCHEDULED,))
    return Ledger([running] * 6 + [waiting] * 3 + [later] * 2)
