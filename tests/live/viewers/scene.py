"""What happens in the shop while the viewers watch, and when each of them saw it."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import redis

from huey_otel import events as e
from runtime.load.ledger import Expected, Ledger
from runtime.load.mix import weights
from tests.live.panels import LedgerCounts
from tests.live.processes import Program
from tests.live.scraping import Prometheus, metrics, samples
from tests.live.viewers.jaeger import Span, Traces
from tests.live.viewers.stack import Stack
from tests.support.waiting import wait_to_read, wait_until

SOON: Final = 10
"""Seconds after the last task in which all traces are to be whole."""

SHAPES: Final = ("endpoints", "exporter", "native")
"""Whose pages a Prometheus reads; "native" are endpoints, with native histograms."""

STAGES: Final = ("healthy", "failing", "busy", "workers killed", "consumer killed")

CHARGE: Final = "runtime.shop.tasks.charge_card"
RESIZE: Final = "runtime.shop.tasks.resize_photo"

_FAILING: Final = frozenset(
    {
        ("HueyTaskFails", CHARGE, ""),
        ("HueyUnknownTasks", "_unknown", ""),
        *(("HueyFailureBudgetBurns", CHARGE, window) for window in ("1h", "6h", "3d")),
    }
)
_KILLED: Final = _FAILING | {
    ("HueyTasksLost", RESIZE, ""),
    ("HueySchedulerDied", "", ""),
}
ALERTS: Final = {
    "healthy": frozenset[tuple[str, str, str]](),
    "failing": _FAILING,
    "busy": _FAILING,
    "workers killed": _KILLED,
    "consumer killed": _KILLED | {("HueyConsumerDown", "", "")},
}
"""The alerts of each stage, by name, task and window; pending or firing."""

DECLINED: Final = 3
"""So often the bank declines a card that is charged three times: the task fails."""

_ORDERS: Final = 40
_FAILING_ORDERS: Final = 8
_WORKERS: Final = 6
_THREADS: Final = 4
_WAITING: Final = 3
_LATER: Final = 2
_LONG: Final = 60
_ENQUEUE: Final = f"""
from runtime.shop.tasks import remind_cart, resize_photo
for number in range({_LATER}):
    remind_cart.schedule((number,), delay=3600)
for seconds in [{_LONG}] * {_WORKERS} + [0] * {_WAITING}:
    print(resize_photo("photo", 320, seconds).id)
"""


class Scene:
    """The shop's day in stages. What each viewer sees of them is asked afterwards.

    `moments` are the times at which a Prometheus had scraped a stage, by shape and
    stage. `ledgers` are what the load enqueued. `orders` and `offices` are the traces
    of requests; an order has how often its card was declined. `traces` are as they
    arrived, `whole_after` so many seconds after the last task.
    """

    def __init__(
        self, directory: Path, redis_port: int, keep: Callable[[Program], Program]
    ) -> None:
        self.stack = Stack(directory, redis_port, keep)
        self.jaeger = self.stack.jaeger
        self.moments: dict[tuple[str, str], float] = {}
        self.ledgers: list[Ledger] = []
        self.orders: dict[str, int] = {}
        self.offices: list[str] = []
        self._directory = directory
        self._unreadable = 0
        self._consumers = self.stack.start()
        self.viewers = self._watch()
        self.began = time.time()
        self._play()
        self.traces, self.whole_after = self._arrived()
        self.ended = time.time()
        # So that no report begins a trace while it is asked for.
        assert self._consumers["consumer"].stop(signal.SIGTERM) == 0
        self.traces = self.jaeger.traces(raw=True)

    def attempts(self) -> dict[str, list[str]]:
        """The outcomes of each task that the load knows by its id."""
        return {
            each.id: outcomes(each)
            for ledger in self.ledgers
            for each in ledger.expected
            if each.id is not None
        }

    def _watch(self) -> Mapping[str, Prometheus]:
        both = ("consumer", "consumer-threads")
        viewers = {
            "endpoints": self.stack.prometheus("endpoints", *both),
            "exporter": self.stack.prometheus("exporter", "exporter"),
            "native": self.stack.prometheus("native", *both, native=True),
        }
        for viewer in viewers.values():
            viewer.wait_until_ready()
        return viewers

    def _play(self) -> None:
        # A series that begins with its first count has no rate yet.
        self._enqueue_mix(len(weights()), rate=20)
        for declines in range(DECLINED + 1):
            self._order(declines)
        self._office()
        self._wait_for_all()
        self._reach("healthy", {})

        load = self._start_mix(80, rate=4)
        for number in range(_ORDERS):
            self._order(DECLINED if number < _FAILING_ORDERS else 0)
        self._office()
        self._end_mix(load)
        with redis.Redis.from_url(self.stack.redis_url) as client:
            client.lpush("huey.redis.shop", "this is no message")
        self._unreadable = 1
        self._wait_for_all()
        self._reach("failing", {})

        program = self.stack.load("-c", _ENQUEUE, log="long")
        assert program.wait() == 0, program.log
        self.long = program.log.split()
        self._reach(
            "busy",
            {
                "sum(huey_tasks_in_progress)": _WORKERS,
                # The report of each minute may wait as well.
                f"max(huey_queue_length) >= bool {_WAITING}": 1,
                "max(huey_schedule_length)": _LATER,
            },
        )

        scheduler, worker, *_workers = self._consumers["consumer"].children()
        os.kill(scheduler, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        self._reach(
            "workers killed",
            {
                "sum(huey_worker_restarts_total)": 1,
                "sum(huey_scheduler_restarts_total)": 1,
            },
        )

        self._consumers["consumer-threads"].kill()
        self._reach("consumer killed", {})
        wait_until(self._is_idle, seconds=2 * _LONG)

    def _order(self, declines: int) -> None:
        self.orders[self._post("/order", f"declines={declines}")] = declines

    def _office(self) -> None:
        self.offices.append(self._post("/office", ""))

    def _post(self, path: str, form: str) -> str:
        """Press a button of the page; the trace that its answer leads to."""
        # A person who presses it faster than the shop works makes a backlog.
        wait_until(lambda: self._waiting() < 5)
        status, _, page = self.stack.web(path, form)
        assert status == 202
        link = re.search('href="/trace/([0-9a-f]{32})"', page)
        assert link is not None, page
        return link[1]

    def _enqueue_mix(self, tasks: int, *, rate: int) -> None:
        self._end_mix(self._start_mix(tasks, rate=rate))

    def _start_mix(self, tasks: int, *, rate: int) -> Program:
        return self.stack.load(
            *("-m", "runtime", "load", "--tasks", str(tasks), "--rate", str(rate)),
            *("--ledger", str(self._directory / "ledger")),
            log=f"load-{tasks}",
        )

    def _end_mix(self, load: Program) -> None:
        assert load.wait() == 0, load.log
        self.ledgers.append(Ledger.read(self._directory / "ledger"))

    def _wait_for_all(self) -> None:
        """Wait until all that was enqueued has finished, and is seen to have."""
        # Charge, receipt unless it is declined, pack, courier; a photo and its two
        # sizes, stock, offer.
        of_orders = sum(3 if times == DECLINED else 4 for times in self.orders.values())
        of_ledgers = LedgerCounts(*self.ledgers).finished()
        total = of_orders + 5 * len(self.offices) + of_ledgers + self._unreadable
        query = 'sum(huey_tasks_finished_total{task!~".*nightly_report"})'
        for viewer in self.viewers.values():
            wait_until(lambda v=viewer: v.values(query) == {(): total}, seconds=120)

    def _waiting(self) -> float:
        return self._gauge("consumer", "huey_queue_length")

    def _is_idle(self) -> bool:
        running = self._gauge("consumer", "huey_tasks_in_progress")
        return not running and not self._waiting()

    def _gauge(self, service: str, name: str) -> float:
        page = samples(metrics(self.stack.ports[service]))
        return sum(number for (found, _), number in page.items() if found == name)

    def _reach(self, stage: str, wanted: Mapping[str, float]) -> None:
        """Wait until each viewer has the alerts of *stage* at least, and *wanted*.

        That all its rules have been evaluated is meant as well.
        """
        for shape, viewer in self.viewers.items():

            def seen(shape: str = shape, viewer: Prometheus = viewer) -> object:
                moment = time.time()
                self.moments[shape, stage] = moment
                return (
                    {
                        query: viewer.values(query, at=moment).get(())
                        for query in wanted
                    },
                    ALERTS[stage] - alerts(viewer, moment),
                    viewer.faults(),
                )

            wait_to_read(seen, (wanted, frozenset(), {}), seconds=180)

    def _arrived(self) -> tuple[Traces, float]:
        """All traces, and after how many seconds they were whole, or SOON."""
        ended = time.monotonic()
        while True:
            traces = self.jaeger.traces(raw=True)
            took = time.monotonic() - ended
            if self._is_whole(traces) or took > SOON:
                return traces, took

    def _is_whole(self, traces: Traces) -> bool:
        found = {
            span.tags["messaging.message.id"]
            for trace in traces.values()
            for span in trace
            if span.is_attempt
        }
        # Those that the threads of the killed consumer were in have left nothing.
        rest = _WORKERS + _WAITING - _THREADS
        return (
            not any(map(orphans, traces.values()))
            and self.attempts().keys() <= found
            and len(found & set(self.long)) == rest
        )


def orphans(trace: list[Span]) -> list[str]:
    """The spans of *trace* whose parent it does not have."""
    known = {span.span_id for span in trace}
    return [
        span.name
        for span in trace
        if span.parent_id is not None and span.parent_id not in known
    ]


def alerts(viewer: Prometheus, moment: float) -> frozenset[tuple[str, ...]]:
    """The alerts that fired or were pending, by name, task and window."""
    return frozenset(viewer.values("ALERTS", "alertname", "task", "window", at=moment))


_OUTCOMES: Final = {
    e.EVENT_FINISHED: "success",
    e.EVENT_ERROR_TASK: "error",
    e.EVENT_TIMEOUT: "timeout",
    e.EVENT_LOCKED: "locked",
    e.EVENT_CANCELED: "canceled",
    e.EVENT_RATE_LIMITED: "rate_limited",
    e.EVENT_REVOKED: "revoked",
    e.EVENT_EXPIRED: "expired",
}


def outcomes(task: Expected) -> list[str]:
    """The outcomes of the attempts of *task*, by the events that are expected."""
    found = []
    before = ""
    for status in task.statuses:
        if status in _OUTCOMES:
            found.append(_OUTCOMES[status])
        elif (before, status) == (e.EVENT_STARTED, e.EVENT_RETRYING):
            found.append("retry_requested")
        before = status
    return found
