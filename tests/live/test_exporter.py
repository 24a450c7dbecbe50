"""The exporter beside the pages of real consumers: each series is the same."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from huey_otel._prometheus.catalog import CATALOG, OF_STORAGE
from huey_otel._wire.page import key_of, unpack
from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, Program, losses
from tests.live.scraping import (
    Prometheus,
    fetch,
    metrics,
    samples,
    serves,
    value,
)
from tests.support.commands import Command
from tests.support.event_logs import needs_event_names
from tests.support.programs import free_port, other_huey
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_to_read, wait_until

pytestmark = pytest.mark.once

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

QUICK = ("-d", "0.02", "-m", "0.1", "-n", "-c", "0.2")
EACH = 9
"""Tasks that one round of PRODUCE finishes."""

PRODUCE = """
import sys
from tests.live.apps import ledger as app
first, number = map(int, sys.argv[1:])
for at in range(first, first + number):
    app.succeed()
    app.fail()
    app.recover(at)
    app.give_up(at)
    app.nest()
    app.cancel_once(at)
    app.huey.enqueue(app.begin_pipeline.s().then(app.end_pipeline))
"""

LEAVE = """
from tests.live.apps import ledger as app
for _ in range(5):
    app.leave()
"""

GREENLETS = """
from gevent import monkey
monkey.patch_all()
from tests.live.apps.ledger import huey
huey.create_consumer(
    worker_type="greenlet", workers=4, periodic=False, initial_delay=0.02
).run()
"""

MOVING = {
    "huey_workers_resident_memory_bytes",
    "huey_scheduler_last_check_timestamp_seconds",
}
"""Gauges that another moment has other values of."""

LASTING = {
    f"{one.name}{end}"
    for one in CATALOG.values()
    for end in {"counter": ("",), "histogram": ("_bucket", "_count", "_sum")}.get(
        one.type, ()
    )
}


class Fleet:
    """Consumers of one queue with their own pages, and an exporter of them all."""

    def __init__(
        self,
        server: RedisServer,
        directory: Path,
        keep: Callable[[Program], Program],
        pythonpath: str = "",
    ) -> None:
        self.server = server
        self._directory = directory
        self._keep = keep
        self._pythonpath = pythonpath
        self._made = 0
        self._enqueued = 0
        self.consumers: dict[int, Program] = {}
        self._exporters: list[Command] = []
        self.environ = {
            "LIVE_QUEUE_URL": server.url,
            "LIVE_LEDGER": str(directory / "ledger"),
            "LIVE_GATE": str(directory / "gate"),
        }

    def start(self, kind: str, *options: str, interval: str = "1") -> Program:
        """Start a consumer, and wait until it serves its own page."""
        port = free_port()
        self._made += 1
        log = self._directory / f"consumer-{self._made}.log"
        environ = self.environ | {
            "HUEY_OTEL_METRICS_PORT": str(port),
            "HUEY_OTEL_PUBLISH_METRICS": interval,
        }
        path = self._pythonpath
        started: Program
        if kind == "greenlet":
            started = Program(
                "-c", GREENLETS, log=log, environ=environ, pythonpath=path
            )
        else:
            arguments = ("ledger", kind, *QUICK, *options)
            started = Consumer(*arguments, log=log, environ=environ, pythonpath=path)
        self._keep(started)
        self.consumers[port] = started
        wait_until(lambda: serves(port))
        return started

    def do(self, code: str, *arguments: int) -> None:
        """Run *code* in a program with the application's environment, to its end."""
        self._made += 1
        program = Program(
            *("-c", code, *map(str, arguments)),
            log=self._directory / f"program-{self._made}.log",
            environ=self.environ,
            pythonpath=self._pythonpath,
        )
        self._keep(program)
        assert program.wait() == 0, program.log

    def finished(self) -> int:
        """How many tasks have come to their final end, as their ledger says."""
        path = Path(self.environ["LIVE_LEDGER"])
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(line.startswith("finished ") for line in lines)

    def counted(self) -> int:
        """How many of them the own pages of the consumers that run have counted."""
        return int(
            sum(
                number
                for port, consumer in self.consumers.items()
                if consumer.running
                for (name, _), number in samples(metrics(port)).items()
                if name == "huey_tasks_finished_total"
            )
        )

    def run(self, rounds: int) -> None:
        """Enqueue tasks of many outcomes, and wait until all are finished."""
        total = self.counted() + EACH * rounds
        self.do(PRODUCE, self._enqueued, rounds)
        self._enqueued += rounds
        # Tasks write their last line before they end.
        wait_to_read(self.counted, total, seconds=120)

    def own(self) -> Samples:
        """What the consumers' own pages say, each series with its consumer."""
        host = Path("/proc/sys/kernel/hostname").read_text().strip()
        found = {}
        for port, running in self.consumers.items():
            name = ("consumer", f"{host}:{running.pid}")
            for (metric, labels), number in samples(metrics(port)).items():
                found[metric, labels | {name}] = number
        return compared(found)

    def export(self) -> str:
        """Start an exporter; the address of its metrics."""
        command = Command(
            *("exporter", "--redis", self.server.url, "--queue", "live"),
            *("--host", "127.0.0.1", "--port", "0"),
        )
        self._exporters.append(command)
        (line,) = command.said(" are served on ").err[:1]
        return line.rpartition(" ")[2]

    def end_exporters(self) -> None:
        while self._exporters:
            command = self._exporters.pop()
            command.process.send_signal(signal.SIGTERM)
            assert command.ended() == 0


@pytest.fixture(params=["huey 3", "huey 2"])
def pythonpath(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "huey 3" else str(other_huey("2.5.3"))


@pytest.fixture
def fleet(
    redis_server: RedisServer,
    tmp_path: Path,
    keep: Callable[[Program], Program],
    pythonpath: str,
) -> Iterator[Fleet]:
    made = Fleet(redis_server, tmp_path, keep, pythonpath)
    yield made
    made.end_exporters()


def page(url: str) -> str:
    status, text = fetch(url)
    assert status == 200, text
    return text


def exported(url: str) -> Samples:
    """What the exporter shows of consumers."""
    return compared(samples(page(url)))


def compared(found: Samples) -> Samples:
    """What can be compared of *found*: not what moves, nor what storage says."""
    ours = {*LASTING, *CATALOG} - MOVING - set(OF_STORAGE)
    return {key: number for key, number in found.items() if key[0] in ours}


def lasting(found: Samples) -> Samples:
    return {key: number for key, number in found.items() if key[0] in LASTING}


def summed(found: Samples) -> Samples:
    """The sum over all consumers, by series."""
    sums: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    for (name, labels), number in found.items():
        rest = frozenset(pair for pair in labels if pair[0] != "consumer")
        sums[name, rest] += number
    return dict(sums)


def settle(ready: Callable[[], bool]) -> None:
    """Return when *ready* or time is up; the next assertion says more."""
    try:
        wait_until(ready)
    except pytest.fail.Exception:
        return


def differences(one: Samples, other: Samples) -> dict[object, object]:
    """The series in which they differ, and both numbers."""
    return {
        key: (one.get(key), other.get(key))
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key)
    }


def assert_same(fleet: Fleet, url: str) -> Samples:
    """Wait until the exporter shows what the consumers do; that."""
    seen: list[tuple[Samples, Samples]] = []

    def same() -> bool:
        # On a busy machine a page may be late, and has no gauges then.
        seen[:] = [(fleet.own(), exported(url))]
        return seen[0][0] == seen[0][1]

    settle(same)
    ((own, shown),) = seen
    assert differences(own, shown) == {}
    assert differences(summed(own), summed(shown)) == {}
    return own


def test_each_series_is_the_sum_of_the_consumers_own(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.start("process", "-w", "2")
    fleet.start("thread", "-w", "2")
    fleet.run(20)
    url = fleet.export()

    running = assert_same(fleet, url)
    assert (
        summed(running)[
            "huey_tasks_finished_total",
            frozenset(
                {
                    ("queue", "live"),
                    ("task", "tests.live.apps.ledger.fail"),
                    ("outcome", "failure"),
                }
            ),
        ]
        == 20
    )

    fleet.end_exporters()
    url = fleet.export()
    assert_same(fleet, url)

    before = lasting(fleet.own())
    for consumer in fleet.consumers.values():
        assert consumer.stop(signal.SIGINT) == 0
    ended = exported(url)
    assert differences(before, ended) == {}

    fleet.end_exporters()
    again = exported(fleet.export())
    assert differences(before, again) == {}
    assert value(page(fleet.export()), "huey_exporter_pages", state="ended") == 2
    record_property("proof", {"series": len(running), "differ": 0})


def test_consumers_that_are_told_to_finish_leave_their_last_counts(
    fleet: Fleet,
) -> None:
    for kind in ("process", "thread"):
        fleet.start(kind, "-w", "2", interval="200")
    url = fleet.export()
    fleet.run(10)

    for consumer in fleet.consumers.values():
        consumer.stop(signal.SIGTERM)

    shown = exported(url)
    finished = sum(
        number
        for (name, _), number in shown.items()
        if name == "huey_tasks_finished_total"
    )
    assert finished == fleet.finished() == 10 * EACH
    assert {name for name, _ in shown} <= LASTING


def test_workers_that_die_cost_nothing(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.start("process", "-w", "3")
    url = fleet.export()
    fleet.run(5)
    for _ in range(3):
        before = fleet.finished()
        fleet.do(LEAVE)
        wait_until(lambda before=before: fleet.finished() == before + 5)
    restarts = {"reason": "died", "queue": "live"}
    wait_until(
        lambda: (value(page(url), "huey_worker_restarts_total", **restarts) or 0) > 3
    )

    own = assert_same(fleet, url)
    record_property("proof", {"series": len(own), "differ": 0})


def test_a_killed_main_process_loses_what_came_after_its_last_page(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    killed = fleet.start("process", "-w", "2", interval="200")
    url = fleet.export()
    name = "huey_tasks_finished_total"
    with redis.Redis.from_url(fleet.server.url) as client:
        wait_until(lambda: bool(client.zcard("huey.metrics.live")))

    fleet.run(5)
    killed.kill()

    shown = exported(url)
    told = sum(number for (metric, _), number in shown.items() if metric == name)
    lost = fleet.finished() - told
    # The page that it wrote at its start is all that there is.
    assert (told, lost) == (0, 5 * EACH)
    record_property("proof", {"lost": lost, "interval": 200})


def test_a_killed_main_process_loses_an_interval_at_most(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    killed = fleet.start("process", "-w", "2")
    url = fleet.export()
    fleet.run(5)
    assert_same(fleet, url)
    before = lasting(fleet.own())

    killed.kill()

    assert differences(before, lasting(exported(url))) == {}
    wait_until(lambda: value(page(url), "huey_exporter_pages", state="stale") == 1)
    assert differences(before, exported(url)) == {}
    record_property("proof", {"series": len(before), "differ": 0})


def test_a_consumer_that_restarts_itself_begins_again(fleet: Fleet) -> None:
    running = fleet.start("process", "-w", "2", interval="200")
    url = fleet.export()
    fleet.run(5)

    running.send(signal.SIGHUP)
    wait_until(lambda: value(page(url), "huey_exporter_pages", state="replaced") == 1)
    fleet.run(3)
    assert running.stop(signal.SIGINT) == 0

    totals: Counter[str] = Counter()
    for (name, labels), number in exported(url).items():
        if name == "huey_tasks_finished_total":
            totals[dict(labels)["consumer"].partition(":")[2]] += number
    # The run before has its whole publisher for a name.
    assert totals.pop(str(running.pid)) == 3 * EACH
    assert [*totals.values()] == [5 * EACH]


def test_greenlets_leave_their_pages_too(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.start("greenlet")
    url = fleet.export()

    fleet.run(5)

    assert_same(fleet, url)
    (running,) = fleet.consumers.values()
    before = lasting(fleet.own())
    assert running.stop(signal.SIGINT) == 0
    assert differences(before, exported(url)) == {}
    record_property("proof", {"series": len(before), "differ": 0})


def test_a_redis_that_is_killed_and_comes_back_empty_costs_nothing(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    for kind in ("process", "thread"):
        fleet.start(kind, "-w", "2")
    url = fleet.export()
    fleet.run(10)
    assert_same(fleet, url)

    fleet.server.kill()
    # As long as it takes to notice, and for each page to be missed at least once.
    wait_until(lambda: "huey_exporter_up 0.0" in page(url))
    for running in fleet.consumers.values():
        wait_until(lambda running=running: "is away" in running.log)
    fleet.server.start()
    fleet.run(10)

    own = assert_same(fleet, url)
    assert "huey_exporter_up 1.0" in page(url)
    record_property("proof", {"series": len(own), "differ": 0})


def test_prometheus_counts_the_same_while_consumers_are_replaced(
    fleet: Fleet,
    keep: Callable[[Program], Program],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    url = fleet.export()
    port = int(url.rpartition(":")[2].partition("/")[0])
    prometheus = Prometheus(tmp_path / "prometheus", port)
    keep(prometheus)
    prometheus.wait_until_ready()

    def total() -> float:
        query = "sum(last_over_time(huey_tasks_finished_total[1h]))"
        return prometheus.values(query).get((), 0)

    for kind in ("process", "thread", "process", "thread"):
        consumer = fleet.start(kind, "-w", "2")
        fleet.run(5)
        consumer.stop(signal.SIGTERM)
    # And one that is replaced by itself.
    consumer = fleet.start("process", "-w", "2")
    fleet.run(5)
    consumer.send(signal.SIGHUP)
    wait_until(lambda: value(page(url), "huey_exporter_pages", state="replaced") == 1)
    fleet.run(5)
    consumer.stop(signal.SIGTERM)

    settle(lambda: total() == fleet.finished())
    assert total() == fleet.finished() == 6 * 5 * EACH

    def increase() -> float:
        # Absent until a series has been scraped twice.
        query = "sum(increase(huey_tasks_finished_total[1h]))"
        return prometheus.values(query).get((), 0)

    wait_until(lambda: increase() > 0)
    record_property("proof", {"ledger": fleet.finished(), "increase": increase()})
    consumers = prometheus.values(
        "count(count by (consumer) (last_over_time(huey_task_attempts_total[1h])))"
    )
    assert consumers == {(): 6}
    assert prometheus.values("max(up)") == {(): 1}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("pythonpath", ["huey 3"], indirect=True)
def test_prometheus_sees_the_increase_of_consumers_that_it_has_seen_begin(
    fleet: Fleet,
    keep: Callable[[Program], Program],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    url = fleet.export()
    port = int(url.rpartition(":")[2].partition("/")[0])
    prometheus = Prometheus(tmp_path / "prometheus", port)
    keep(prometheus)
    prometheus.wait_until_ready()
    finished = "huey_tasks_finished_total"
    host = Path("/proc/sys/kernel/hostname").read_text().strip()

    def scrapes(consumer: Program) -> float:
        name = f'{{consumer="{host}:{consumer.pid}"}}'
        query = f"min(count_over_time({finished}{name}[1h]))"
        return prometheus.values(query).get((), 0)

    for kind in ("process", "thread", "process"):
        consumer = fleet.start(kind, "-w", "2")
        wait_until(lambda consumer=consumer: scrapes(consumer) >= 2)
        fleet.run(5)
        consumer.stop(signal.SIGTERM)
    # Also of the last one, a scrape after its end.
    ended = prometheus.values("max(timestamp(huey_exporter_up))")[()]
    wait_until(
        lambda: prometheus.values("max(timestamp(huey_exporter_up))")[()] > ended + 1
    )

    # At the moment of a scrape nothing is extrapolated past it.
    at = prometheus.values("max(timestamp(huey_exporter_up))")[()]
    increase = prometheus.values(f"sum(increase({finished}[1h]))", at=at)[()]
    record_property("proof", {"ledger": fleet.finished(), "increase": increase})
    assert increase == pytest.approx(fleet.finished(), rel=0.05)
    assert fleet.finished() == 3 * 5 * EACH


@pytest.fixture
def elsewhere(
    keep: Callable[[Program], Program], redis_server: RedisServer, tmp_path: Path
) -> Callable[[], tuple[Program, int]]:
    """Starts a consumer of a queue on SQLite; it, and the port of its own page."""

    def start() -> tuple[Program, int]:
        port = free_port()
        consumer = Consumer(
            *("events_elsewhere", "thread", *QUICK),
            log=tmp_path / "consumer.log",
            environ={
                "LIVE_DATABASE": str(tmp_path / "huey.db"),
                "LIVE_EVENTS_URL": redis_server.url,
                "LIVE_LEDGER": str(tmp_path / "ledger"),
                "LIVE_DROPPED": str(tmp_path / "dropped"),
                "HUEY_OTEL_METRICS_PORT": str(port),
                "HUEY_OTEL_PUBLISH_METRICS": "1",
                "HUEY_OTEL_FLUSH_TIMEOUT": "1",
            },
        )
        keep(consumer)
        wait_until(lambda: serves(port))
        with redis.Redis.from_url(redis_server.url) as client:
            wait_until(lambda: client.zcard("huey.metrics.live") == 1)
        return consumer, port

    return start


def test_a_queue_that_is_not_on_redis_has_its_pages_where_its_events_go(
    elsewhere: Callable[[], tuple[Program, int]],
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    running, _ = elsewhere()

    assert running.stop() == 0

    where = f"each 1 s in huey.metrics.live of redis://127.0.0.1:{redis_server.port}"
    assert where in running.log
    assert losses(tmp_path / "dropped") == {}
    with redis.Redis.from_url(redis_server.url) as client:
        (publisher,) = client.zrange("huey.metrics.live", 0, -1)
        head, _ = unpack(client.get(key_of("live", publisher.decode())))
    assert (head.ended, head.queue) == (True, "live")


def test_a_redis_that_hangs_holds_up_no_page_and_no_end(
    elsewhere: Callable[[], tuple[Program, int]],
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    running, port = elsewhere()
    redis_server.pause()

    before = metrics(port)
    wait_until(lambda: "the metrics page waits for it" in running.log)
    after = metrics(port)
    code = running.stop()
    redis_server.resume()

    assert value(before, "huey_workers") == value(after, "huey_workers") == 1
    assert code == 0
    assert losses(tmp_path / "dropped") == {"page_shutdown": 1}


AWAY = {
    "log records": ({"HUEY_OTEL_EVENTS": "otlp", "OTEL_TRACES_EXPORTER": "none"}, 80),
    "events": ({"HUEY_OTEL_EVENTS": "redis://127.0.0.1:1/0"}, 80),
    "spans": ({}, 40),
}


@pytest.mark.proof_but(
    "log records-thread", "log records-process", "events-thread", "spans-process"
)
@needs_event_names
@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize(("environ", "least"), AWAY.values(), ids=AWAY)
def test_what_is_lost_at_the_end_is_on_the_last_page(
    environ: dict[str, str],
    least: int,
    kind: str,
    consumer: Callable[..., Consumer],
    produce: Callable[..., None],
    conn: redis.Redis,
    tmp_path: Path,
) -> None:
    produce("count", "40", OTEL_TRACES_EXPORTER="none")
    with otlp.black_hole() as receiver:
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            HUEY_OTEL_FLUSH_TIMEOUT="1",
            HUEY_OTEL_PUBLISH_METRICS="200",
            **(receiver.environ | environ),
        )
        wait_until(lambda: int(conn.get("done") or 0) == 40)
        running.wait_until_started()
        assert running.stop(signal.SIGTERM) == 0

    lost = losses(tmp_path / "dropped")
    (publisher,) = conn.zrange("huey.metrics.live", 0, -1)
    head, text = unpack(conn.get(key_of("live", publisher.decode())))
    told = {
        dict(labels)["reason"]: number
        for (name, labels), number in samples(text).items()
        if name == "huey_telemetry_dropped_total" and number
    }
    assert (head.ended, told) == (True, lost)
    assert sum(lost.values()) >= least


def test_two_hueys_of_one_process_have_each_series_on_one_page(
    redis_server: RedisServer, keep: Callable[[Program], Program], tmp_path: Path
) -> None:
    program = Program(
        *("-m", "tests.live.apps.several_hueys", "thread"),
        log=tmp_path / "log",
        environ={
            "LIVE_QUEUE_URL": redis_server.url,
            "HUEY_OTEL_METRICS_PORT": "off",
            "HUEY_OTEL_PUBLISH_METRICS": "on",
        },
    )
    keep(program)
    assert program.wait(120) == 0
    command = Command(
        *("exporter", "--redis", redis_server.url, "--queue", "live"),
        *("--queue", "second", "--host", "127.0.0.1", "--port", "0"),
    )
    with command:
        (line,) = command.said(" are served on ").err[:1]
        url = line.rpartition(" ")[2]
        both = page(url)
        parts = [page(f"{url}?queue={name}") for name in ("live", "second")]

    printed = lasting(compared(samples(program.log)))
    shown = summed(exported_of(both))
    assert differences(printed, shown) == {}
    one, other = (set(lasting(samples(part))) for part in parts)
    assert one & other == set()
    assert one | other == set(lasting(samples(both)))


def exported_of(text: str) -> Samples:
    return lasting(compared(samples(text)))
