"""The relay: what an event costs a consumer's main process, and what overflow costs."""

import os
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.turns import Spread, in_turns, table
from huey_otel._names import TASK_ATTEMPTS_FINISHED_TOTAL
from huey_otel._prometheus.collector import Collector
from huey_otel._relay.relay import Relay, Route, Routes
from huey_otel._safety.forks import EXCLUSION
from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source
from huey_otel.mapping import DEQUEUED, TABLE

EVENTS: Final = 5_000
CHUNK: Final = 100
FLOOD: Final = 100_000
"""Records sent while the reader is held up: more than the queue or pipe keeps."""

THREADS: Final = "from threads, at leisure"
PIPE: Final = "from a forked worker, at leisure"
FLOODED: Final = "from threads, without a reader"
FLOODED_PIPE: Final = "from a forked worker, without a reader"
NAME: Final = "__main__.nothing"

Figures = dict[str, Spread]


class NoFeed:
    """Encodes events as the publisher does, but has no socket."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, record: Record, source: Source) -> None:
        """Encode *record* if it is published."""
        if TABLE[record.status].is_event and not record.sums_up:
            self.events += 1
            spell(record, source).encode()


class Main:
    """A consumer's main process: relay, metrics and an encoder of events."""

    def __init__(self) -> None:
        self._feed = NoFeed()
        self._metrics = Collector()
        routes = Routes()
        self._relay = Relay(routes)
        source = Source(queue="bench", host="here", worker_type="process")
        routes.add(1, Route(source, (self._metrics, self._feed)))
        self._ended = 0

    def of_threads(self) -> float:
        """CPU of this process for an event from one of its threads."""
        records = _of_threads(EVENTS // 2)
        began = time.process_time()
        for start in range(0, len(records), CHUNK):
            for record in records[start : start + CHUNK]:
                self._relay.send(record)
            self._relay.flush(10.0)
        return self._spent(began)

    def of_a_worker(self) -> float:
        """CPU of this process for an event from a forked worker.

        Of the second round: in the first, memory pages are copied that the fork shares.
        """
        self._relay.open_pipe()
        records = _of_a_worker(EVENTS // 2)
        sent, done = os.pipe()
        go, start = os.pipe()

        def send() -> None:
            for _ in range(2):
                for number, record in enumerate(records):
                    self._relay.send(record)
                    if number % CHUNK == 0:
                        self._relay.flush(10.0)
                self._relay.flush(30.0)
                os.write(done, b".")
                os.read(go, 1)

        wait = self._in_a_fork(send)
        spent = 0.0
        for _ in range(2):
            began = time.process_time()
            os.read(sent, 1)
            self._relay.flush(30.0)
            spent = self._spent(began)
            os.write(start, b".")
        wait()
        for end in (sent, done, go, start):
            os.close(end)
        return spent

    def of_threads_flooded(self) -> float:
        """CPU of the sender for each record, when most of them become sums."""
        records = _of_threads(FLOOD // 2)
        with EXCLUSION:
            cpu = self._send_all(records)
        self._relay.flush(30.0)
        self._expect(FLOOD // 2)
        return cpu

    def of_a_worker_flooded(self) -> float:
        """CPU of the sender for each record, when most of them become sums."""
        self._relay.open_pipe()
        told, tell = os.pipe()
        records = _of_a_worker(FLOOD // 3)

        def send() -> None:
            os.write(tell, str(self._send_all(records)).encode())

        with EXCLUSION:
            wait = self._in_a_fork(send)
            cpu = float(os.read(told, 100))
        wait()
        os.close(told)
        os.close(tell)
        self._relay.flush(30.0)
        self._expect(FLOOD // 3)
        return cpu

    def _send_all(self, records: list[Record]) -> float:
        began = time.thread_time()
        for record in records:
            self._relay.send(record)
        return (time.thread_time() - began) / len(records) * 1e6

    def _in_a_fork(self, do: Callable[[], None]) -> Callable[[], None]:
        """Call *do* in a forked child; return a function that waits for its end."""
        pid = os.fork()
        if not pid:
            code = 1
            try:
                do()
                code = 0 if self._relay.flush(30.0) else 1
            finally:
                os._exit(code)

        def wait() -> None:
            if os.waitpid(pid, 0)[1]:
                raise AssertionError("the child has failed")

        return wait

    def _spent(self, began: float) -> float:
        spent, events = time.process_time() - began, self._feed.events
        self._feed.events = 0
        self._expect(EVENTS // 2)
        if events != EVENTS:
            raise AssertionError(f"{events} events arrived, and {EVENTS} were sent")
        return spent / EVENTS * 1e6

    def _expect(self, attempts: int) -> None:
        """Raise unless exactly *attempts* were counted since the last call."""
        self._feed.events, before = 0, self._ended
        self._ended = sum(
            int(sample.value)
            for family in self._metrics.collect()
            for sample in family.samples
            if sample.name == TASK_ATTEMPTS_FINISHED_TOTAL
        )
        if self._ended - before != attempts:
            raise AssertionError(f"{self._ended - before} counted of {attempts}")


_ENDING: Final = {"duration": 0.0456, "outcome": "success", "final": "success"}
_EVENTS: Final[tuple[tuple[str, dict[str, Any] | None], ...]] = (
    ("started", {"wait": 0.0123}),
    ("finished", _ENDING),
)


def _of_a_worker(attempts: int) -> list[Record]:
    """The records that a worker sends of tasks that succeed: popped, and two events."""
    return _records(attempts, (DEQUEUED, None), *_EVENTS)


def _of_threads(attempts: int) -> list[Record]:
    """The same without "popped": a process knows what its own threads have popped."""
    return _records(attempts, *_EVENTS)


def _records(attempts: int, *told: tuple[str, dict[str, Any] | None]) -> list[Record]:
    records = []
    for key in range(1, attempts + 1):
        facts = ("5fcd8a6e-1de1-4f6e-93bb-1ef5d4c1c7a2", "nothing", NAME, 0, None)
        ids = (1, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", None)
        for status, extra in told:
            who = (os.getpid(), key, "Worker-1")
            moment = 1_700_000_000.5
            records.append(Record(1, status, moment, *who, facts + ids, 0, extra))
    return records


def measure(rounds: int) -> Figures:
    """Measure all in turns, in microseconds. Call it before the process has threads."""
    main = Main()
    # Fork before there are threads, as a consumer does.
    main.of_a_worker()
    asked = {PIPE: main.of_a_worker, THREADS: main.of_threads}
    flooded = {FLOODED_PIPE: main.of_a_worker_flooded, FLOODED: main.of_threads_flooded}
    found = in_turns(asked, rounds) | in_turns(flooded, max(3, rounds // 4))
    return {name: Spread.of(values) for name, values in found.items()}


def section(figures: Figures) -> str:
    """The document's section about these figures."""
    rows = [[name, *of.cells()] for name, of in figures.items()]
    return "\n\n".join(
        (
            "## The relay",
            "At leisure: µs of CPU of the consumer's main process for each of "
            f"{EVENTS} events, of a task that succeeds, with all that goes with them: "
            "what a forked worker says when it has popped it, the metrics, and JSON up "
            "to the socket. Nobody reads: µs of CPU of the sender for each of "
            f"{FLOOD:,} records while the relay is held up; most do not fit and become "
            "sums. That not one attempt is missing in the metrics afterwards is "
            "checked, each round.",
            table(["relay", "CPU least", "median", "middle half"], rows),
        )
    )
