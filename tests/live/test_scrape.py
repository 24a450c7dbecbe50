"""A real Prometheus scrapes a real consumer; the tasks' ledger says what is right."""

import datetime
import os
import random
import re
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import redis
from huey.consumer_options import ConsumerConfig

from huey_otel._prometheus.catalog import CATALOG
from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, Program, alive
from tests.live.scraping import (
    Prometheus,
    Values,
    above_zero,
    installed,
    metrics,
    samples,
    serves,
    value,
)
from tests.support.programs import ROOT, free_port, snippet
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_to_read, wait_until

pytestmark = pytest.mark.once

WORKER_KINDS = ("thread", "process")
QUICK = ("-d", "0.02", "-m", "0.1", "-n")
PATH = "tests.live.apps.ledger."
NEVER_LESS = [
    f"{one.name}{suffix}"
    for one in CATALOG.values()
    for suffix in {"counter": [""], "histogram": ["_bucket", "_count", "_sum"]}.get(
        one.type, []
    )
]
QUERIES = runpy.run_path(str(ROOT / "docs" / "tables.py"))["QUERIES"]
HANG = {"queue": "live", "task": f"{PATH}hang"}

# The columns of the ledger, the metric that each is about, and its labels.
COLUMNS = {
    "enqueued": ("huey_tasks_enqueued_total", "task", "origin"),
    "requeued": ("huey_task_requeues_total", "task", "reason"),
    "attempts": ("huey_task_attempts_total", "task"),
    "attempts_finished": ("huey_task_attempts_finished_total", "task", "outcome"),
    "finished": ("huey_tasks_finished_total", "task", "outcome"),
    "retries": ("huey_task_retries_total", "task"),
    "exceptions": ("huey_task_exceptions_total", "task", "exception"),
    "consumer_errors": ("huey_consumer_errors_total", "kind"),
    "restarts": ("huey_worker_restarts_total", "reason"),
}

Start = Callable[..., Consumer]
Keep = Callable[[Program], Program]


class Ledger:
    """The counts that tasks wrote down, and those that only the test knows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._more: Counter[str] = Counter()

    def add(self, line: str, number: int) -> None:
        self._more[line] += number

    def read(self) -> dict[str, Values]:
        """By column, task and label."""
        columns: dict[str, Counter[tuple[str, ...]]]
        columns = {column: Counter() for column in COLUMNS}
        text = self._path.read_text() if self._path.exists() else ""
        for line, number in (Counter(text.splitlines()) + self._more).items():
            column, *labels = line.split()
            if "task" in COLUMNS[column] and not labels[0].startswith("_"):
                labels[0] = PATH + labels[0]
            columns[column][tuple(labels)] += number
        return {column: above_zero(kept) for column, kept in columns.items()}

    def finished(self) -> int:
        return int(sum(self.read()["finished"].values()))

    def wait_until_finished(self, total: int) -> None:
        wait_until(lambda: self.finished() >= total)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def app(
    application: Callable[..., ModuleType], tmp_path: Path, ledger: Ledger
) -> ModuleType:
    return application(
        "ledger",
        LIVE_LEDGER=str(tmp_path / "ledger"),
        LIVE_GATE=str(tmp_path / "gate"),
    )


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(consumer: Start, port: int) -> Start:
    """Starts the consumer of `ledger`, with its page at `port`, and waits for that."""

    def start(kind: str, *options: str, port: int = port, **environ: str) -> Consumer:
        running = consumer(
            *(kind, *QUICK, *options),
            application="ledger",
            HUEY_OTEL_METRICS_PORT=str(port),
            **environ,
        )
        wait_until(lambda: serves(port))
        return running

    return start


@pytest.fixture
def prometheus(keep: Keep, port: int, tmp_path: Path) -> Prometheus:
    started = Prometheus(tmp_path / "prometheus", port)
    keep(started)
    started.wait_until_ready()
    return started


class Kind(NamedTuple):
    """How to enqueue a kind of task, how often, and how many it finishes in all."""

    enqueue: Callable[[ModuleType, Ledger, int], object]
    weight: int = 3
    finishes: int = 1


def revoked(app: ModuleType, ledger: Ledger, _: int) -> None:
    app.be_revoked()
    ledger.add("finished be_revoked revoked", 1)


def expired(app: ModuleType, ledger: Ledger, _: int) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    app.huey.enqueue(app.be_expired.s(expires=past))
    ledger.add("finished be_expired expired", 1)


def unreadable(app: ModuleType, ledger: Ledger, number: int) -> None:
    app.huey.storage.enqueue(b"no message %d" % number)
    ledger.add("consumer_errors dequeueing", 1)
    ledger.add("finished _unknown lost", 1)


KINDS = {
    "succeed": Kind(lambda app, *_: app.succeed(), 30),
    "fail": Kind(lambda app, *_: app.fail(), 8),
    "recover": Kind(lambda app, _, number: app.recover(number)),
    "recover_later": Kind(lambda app, _, number: app.recover_later(number)),
    "give_up": Kind(lambda app, _, number: app.give_up(number)),
    "meet_lock": Kind(lambda app, *_: app.meet_lock()),
    "nest": Kind(lambda app, *_: app.nest(), finishes=2),
    "pipeline": Kind(
        lambda app, *_: app.huey.enqueue(app.begin_pipeline.s().then(app.end_pipeline)),
        finishes=2,
    ),
    "be_handled": Kind(
        lambda app, *_: app.huey.enqueue(app.be_handled.s().error(app.handle)),
        finishes=2,
    ),
    "be_revoked": Kind(revoked),
    "be_expired": Kind(expired),
    "cancel_itself": Kind(lambda app, *_: app.cancel_itself()),
    "cancel_once": Kind(lambda app, _, number: app.cancel_once(number)),
    "ask_again": Kind(lambda app, _, number: app.ask_again(number)),
    "lose_result": Kind(lambda app, *_: app.lose_result()),
    "be_limited": Kind(lambda app, *_: app.be_limited()),
    "be_limited_once": Kind(lambda app, _, number: app.be_limited_once(number)),
    "time_out": Kind(lambda app, *_: app.time_out(), 1),
    "unreadable": Kind(unreadable, 1),
    # Each ends its worker, until the consumer next looks for dead ones.
    "leave": Kind(lambda app, *_: app.leave(), 0),
}


def enqueue_a_mix(app: ModuleType, ledger: Ledger, number: int, leave: int = 1) -> int:
    """Enqueue tasks of all outcomes, at random; how many will be finished."""
    app.be_revoked.revoke()
    dice = random.Random(1)
    weights = [kind.weight for kind in KINDS.values()]
    chosen = [*KINDS, *(["leave"] * leave)]
    chosen.remove("leave")
    chosen += dice.choices(list(KINDS), weights, k=max(0, number - len(chosen)))
    dice.shuffle(chosen)
    for at, name in enumerate(chosen):
        KINDS[name].enqueue(app, ledger, at)
    return sum(KINDS[name].finishes for name in chosen)


def durations_of(expected: dict[str, Values]) -> Values:
    """How many attempts have a duration, by task."""
    counts: Counter[tuple[str, ...]] = Counter()
    for (task, outcome), number in expected["attempts_finished"].items():
        if outcome in ("success", "error", "timeout"):
            counts[task,] += int(number)
    return above_zero(counts)


def events_of(expected: dict[str, Values]) -> Values:
    """How many events there are of each status."""
    attempts, finals, ways = (Counter[str](), Counter[str](), Counter[str]())
    for counts, column in (
        (attempts, "attempts_finished"),
        (finals, "finished"),
        (ways, "requeued"),
    ):
        for (_, label), number in expected[column].items():
            counts[label] += int(number)
    errors = expected["consumer_errors"]
    return above_zero(
        {
            ("started",): attempts.total(),
            ("finished",): attempts["success"] - errors["storing_result",],
            ("error-storing-result",): errors["storing_result",],
            ("error-task",): attempts["error"],
            ("timeout",): attempts["timeout"],
            ("locked",): attempts["locked"],
            ("rate-limited",): attempts["rate_limited"],
            ("canceled",): attempts["canceled"],
            ("retrying",): sum(expected["retries"].values()),
            ("scheduled",): ways["scheduled"],
            ("revoked",): finals["revoked"],
            ("expired",): finals["expired"],
        }
    )


SIZES = [
    pytest.param("process", 4, 600, id="process"),
    pytest.param("thread", 8, 150, id="thread"),
    pytest.param("process", 4, 20_000, id="process-20000", marks=pytest.mark.proof),
    pytest.param("thread", 8, 20_000, id="thread-20000", marks=pytest.mark.proof),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "workers", "number"), SIZES)
def test_prometheus_counts_the_same_as_the_tasks_ledger(
    kind: str,
    workers: int,
    number: int,
    app: ModuleType,
    ledger: Ledger,
    start: Start,
    prometheus: Prometheus,
) -> None:
    with app.huey.lock_task("held"):
        total = enqueue_a_mix(app, ledger, number, leave=workers)
        start(kind, "-w", str(workers), "-c", "0.2")
        wait_until(lambda: ledger.finished() >= total, seconds=120 + number / 50)
    # The workers are idle now, so even on a busy machine they see it before it is due.
    put_off = min(number // 40, 50)
    for _ in range(put_off):
        app.be_put_off.schedule(delay=6 + number / 5_000)
    total += put_off
    ledger.wait_until_finished(total)
    expected = ledger.read()

    moved = [n for (_, way), n in expected["requeued"].items() if way == "scheduled"]
    queries = COLUMNS | {
        "running": ("huey_tasks_in_progress",),
        "workers": ("huey_workers", "queue", "worker_type"),
        "lost": ("huey_telemetry_dropped_total",),
        "durations": ("huey_task_duration_seconds_count", "task"),
        "waits": ("huey_task_wait_seconds_count", "task"),
        "delays": ("huey_task_schedule_delay_seconds_count",),
        "events": ('huey_events_total{status!="error-dequeueing"}', "status"),
    }

    def read() -> dict[str, Values]:
        return {
            name: prometheus.values(metric, *labels)
            for name, (metric, *labels) in queries.items()
        }

    wait_to_read(
        read,
        expected
        | {
            "running": {},
            "workers": {("live", kind): workers},
            "lost": {},
            "durations": durations_of(expected),
            "waits": expected["attempts"],
            "delays": {(): sum(moved)},
            "events": events_of(expected),
        },
    )
    assert ledger.finished() == total
    for query in QUERIES.values():
        prometheus.values(query)
    scrapes = prometheus.values("count_over_time(up[1h])")[()]
    for name in NEVER_LESS:
        assert prometheus.values(f"sum(resets({name}[1h]))") == {}
        assert prometheus.values(f"count(count_over_time({name}[1h]) > 1)") != {}
    sys.stdout.write(f"{total} tasks, {scrapes:.0f} scrapes\n")
    for column, (metric, *labels) in COLUMNS.items():
        number = sum(expected[column].values())
        sys.stdout.write(f"{metric} by {labels}: {number} here and there\n")


def test_exemplars_lead_to_spans(
    app: ModuleType, ledger: Ledger, start: Start, prometheus: Prometheus
) -> None:
    with otlp.receiver() as receiver:
        start("process", "-w", "2", OTEL_BSP_SCHEDULE_DELAY="50", **receiver.environ)
        for _ in range(20):
            app.succeed()
        app.fail()

        def exemplars() -> set[tuple[str, str]]:
            found = [
                *prometheus.exemplars("huey_task_duration_seconds_bucket"),
                *prometheus.exemplars("huey_task_wait_seconds_bucket"),
            ]
            return {(labels["trace_id"], labels["span_id"]) for labels in found}

        wait_until(lambda: len(exemplars()) >= 2)
        wait_until(lambda: len(receiver.spans) >= 21)
        spans = {(span.trace_id, span.span_id) for span in receiver.spans}

    assert exemplars() <= spans


def test_promtool_accepts_the_page(
    app: ModuleType, ledger: Ledger, start: Start, port: int
) -> None:
    promtool = installed("promtool")
    with app.huey.lock_task("held"):
        total = enqueue_a_mix(app, ledger, 40)
        start("process", "-w", "2", "-c", "0.2")
        ledger.wait_until_finished(total)

    page = metrics(port)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_killed_worker_is_a_restart_and_its_task_is_lost(
    app: ModuleType, conn: redis.Redis, start: Start, prometheus: Prometheus
) -> None:
    app.hang()
    start("process", "-w", "2", "-c", "0.2")
    pid = popped(conn)
    wait_to_read(
        lambda: prometheus.values("huey_tasks_in_progress", "queue", "task"),
        {("live", HANG["task"]): 1},
    )

    os.kill(pid, signal.SIGKILL)

    lost = {(HANG["task"], "lost"): 1}
    ended = ("huey_task_attempts_finished_total", "huey_tasks_finished_total")
    wait_to_read(
        lambda: [
            prometheus.values("huey_worker_restarts_total", "queue", "reason"),
            *(prometheus.values(metric, "task", "outcome") for metric in ended),
            prometheus.values("huey_tasks_in_progress"),
        ],
        [{("live", "died"): 1}, lost, lost, {}],
    )


def test_killed_scheduler_is_a_restart_and_the_workers_have_a_memory(
    app: ModuleType, start: Start, port: int
) -> None:
    running = start("process", "-w", "2", "-c", "0.2")

    def shown(name: str) -> float | None:
        return value(metrics(port), name, queue="live")

    before = shown("huey_scheduler_restarts_total")
    # The scheduler is forked first, and again behind the workers.
    scheduler, *workers = running.children()
    os.kill(scheduler, signal.SIGKILL)

    wait_until(lambda: shown("huey_scheduler_restarts_total") == 1)
    assert before == 0
    assert value(metrics(port), "huey_worker_restarts_total", reason="died") == 0
    memory = sum(map(resident, workers))
    seen = shown("huey_workers_resident_memory_bytes")
    assert seen == pytest.approx(memory, rel=0.2)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return 1024 * int(kilobytes)


def test_threads_have_no_memory_of_their_own(
    app: ModuleType, start: Start, port: int
) -> None:
    start("thread", "-w", "2")

    assert value(metrics(port), "huey_workers_resident_memory_bytes") is None


def popped(conn: redis.Redis) -> int:
    """The process that hangs in `hang`."""
    found: Any = conn.blpop(["hangs"], timeout=60)
    assert found is not None
    return int(found[1])


@pytest.mark.skipif(
    not hasattr(ConsumerConfig, "max_tasks"), reason="this huey recycles no workers"
)
@pytest.mark.parametrize("kind", WORKER_KINDS)
def test_a_recycled_worker_is_not_counted_as_died(
    kind: str, app: ModuleType, ledger: Ledger, start: Start, port: int
) -> None:
    start(kind, "-w", "1", "-c", "0.1", "-M", "5")
    for _ in range(20):
        app.succeed()

    def restarts() -> list[float | None]:
        reasons = ("max_tasks", "died")
        page = metrics(port)
        return [value(page, "huey_worker_restarts_total", reason=r) for r in reasons]

    wait_to_read(restarts, [4, 0])
    assert ledger.finished() == 20


@pytest.mark.parametrize("kind", WORKER_KINDS)
def test_lengths_are_absent_while_redis_hangs(
    kind: str,
    app: ModuleType,
    start: Start,
    port: int,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    for _ in range(2):
        app.be_put_off.schedule(delay=600)
    app.hold()
    for _ in range(3):
        app.succeed()
    start(kind, "-w", "1")

    def lengths() -> tuple[float | None, float | None, float | None]:
        page = metrics(port)
        return (
            value(page, "huey_queue_length", queue="live"),
            value(page, "huey_schedule_length", queue="live"),
            value(page, "huey_workers", queue="live"),
        )

    wait_until(lambda: lengths() == (3, 2, 1))
    redis_server.pause()
    try:
        wait_until(lambda: lengths() == (None, None, 1))
    finally:
        redis_server.resume()
    wait_until(lambda: lengths() == (3, 2, 1))
    (tmp_path / "gate").touch()
    wait_until(lambda: lengths() == (0, 2, 1))


def test_multiprocess_mode_of_the_client_changes_nothing(
    app: ModuleType, ledger: Ledger, start: Start, port: int, tmp_path: Path
) -> None:
    directory = tmp_path / "multiprocess"
    directory.mkdir()

    def run(settled: Callable[[], None], **environ: str) -> None:
        before = ledger.finished()
        with app.huey.lock_task("held"):
            number = enqueue_a_mix(app, ledger, 40, leave=0)
            running = start("process", "-w", "2", **environ)
            ledger.wait_until_finished(before + number)
            wait_to_read(lambda: counted(metrics(port)), number)
        settled()
        app.huey.storage.conn.flushdb()
        running.stop()

    plain = {}

    def settled() -> None:
        # An event is counted once it is published.
        wait_to_read(lambda: told(metrics(port)), events_of(ledger.read()))
        plain.update(of_ours(metrics(port)))

    run(settled)
    run(
        lambda: wait_to_read(lambda: of_ours(metrics(port)), plain),
        PROMETHEUS_MULTIPROC_DIR=str(directory),
    )

    assert list(directory.iterdir()) == []


def counted(page: str) -> float:
    found = samples(page).items()
    return sum(number for (name, _), number in found if name == COLUMNS["finished"][0])


def told(page: str) -> Values:
    """How many events of tasks there are of each status."""
    return above_zero(
        {
            (dict(labels)["status"],): number
            for (name, labels), number in samples(page).items()
            if name == "huey_events_total" and not BY_CHANCE & {*dict(labels).values()}
        }
    )


BY_CHANCE = {"checking-periodic", "error-dequeueing"}
"""Events of the scheduler, and of errors, which are summed up in a streak."""


def of_ours(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float | None]:
    """Our samples; those that are times without their values."""
    exact = ("_total", "_count", "huey_workers", "_length", "_info", "_progress")
    times = "_seconds_total"
    return {
        (name, labels): (
            number if name.endswith(exact) and not name.endswith(times) else None
        )
        for (name, labels), number in samples(page).items()
        # Buckets of a wait differ as well.
        if name.startswith("huey_") and not BY_CHANCE & {*dict(labels).values()}
    }


def test_metrics_of_tasks_in_forked_workers_are_on_the_page_as_documented(
    consumer: Start, keep: Keep, redis_url: str, port: int, tmp_path: Path
) -> None:
    (tmp_path / "block.py").write_text(snippet("docs/metrics.md", "multiprocess"))
    block = {"LIVE_BLOCK": str(tmp_path / "block.py")}
    directory = tmp_path / "of-consumer"
    directory.mkdir()
    # Recycled, so that workers come and go.
    recycling = ("-M", "10") if hasattr(ConsumerConfig, "max_tasks") else ()
    consumer(
        *("process", *QUICK, "-w", "2", "-c", "0.1", *recycling),
        application="own_counter",
        HUEY_OTEL_METRICS_PORT=str(port),
        PROMETHEUS_MULTIPROC_DIR=str(directory),
        **block,
    )
    wait_until(lambda: serves(port))
    lines = (
        "from prometheus_client import REGISTRY",
        "from tests.live.apps.own_counter import pack",
        "for _ in [0] * 50: pack('small')",
        "print(*[one.value for metric in REGISTRY.collect() for one in metric.samples"
        " if one.name == 'huey_tasks_enqueued_total'])",
    )
    environ = {"LIVE_QUEUE_URL": redis_url, **block}
    producer = Program(
        "-c", "\n".join(lines), log=tmp_path / "producer.log", environ=environ
    )
    keep(producer)
    assert (producer.wait(), producer.log) == (0, "50.0\n")

    def counts() -> tuple[float | None, float | None]:
        page = metrics(port)
        ours = value(page, "huey_tasks_finished_total", outcome="success")
        return value(page, "shop_orders_total", size="small"), ours

    wait_to_read(counts, (50, 50))


@pytest.mark.parametrize("multiprocess", [False, True], ids=["plain", "multiprocess"])
def test_the_page_of_a_producer_shows_only_what_it_enqueued(
    *, multiprocess: bool, keep: Keep, redis_url: str, tmp_path: Path
) -> None:
    environ = {"LIVE_QUEUE_URL": redis_url, "HUEY_OTEL_METRICS_PORT": "9464"}
    if multiprocess:
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    program = Program(
        *("-m", "tests.live.apps.ledger_web"),
        log=tmp_path / "producer.log",
        environ=environ,
    )
    keep(program)

    assert program.wait() == 0
    assert {
        (name, *sorted(labels)): number
        for (name, labels), number in samples(program.log).items()
        if name.startswith("huey_")
    } == {
        (
            "huey_tasks_enqueued_total",
            ("origin", "call"),
            ("queue", "live"),
            ("task", PATH + task),
        ): number
        for task, number in (("succeed", 3), ("fail", 1))
    }
    assert not alive(program.pid)
