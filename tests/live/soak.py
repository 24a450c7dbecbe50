"""A soak: many tasks, recycled workers, Redis and the collector restarted twice each.

`python -m tests.live.soak 200000` prints figures over time, and what was lost.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import redis

from huey_otel import EventListener
from huey_otel import _names as n
from tests.live.processes import Consumer, Program
from tests.live.scraping import metrics, samples
from tests.support.programs import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

QUEUE = "huey.redis.live"
WORKERS = 4
RECYCLE = 500
SAMPLES = 20
GROWTH = 16 << 20
"""Bytes that the main process may have more at the end than after a quarter."""


class EventCounter:
    """Counts received events; Redis keeps none for a listener that is not connected."""

    def __init__(self, url: str) -> None:
        self.received: Counter[str] = Counter()
        self._listener = EventListener(url, "live")
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def missed(self) -> int:
        return self._listener.missed

    def _listen(self) -> None:
        for event in self._listener:
            self.received[event["status"]] += 1


class Soak:
    """All the processes of a soak, and the files they write."""

    def __init__(self, directory: Path, tasks: int) -> None:
        self.directory = directory
        self.tasks = tasks
        self.redis = RedisServer()
        self.redis.start()
        self.port = free_port()
        self._collector_port = free_port()
        self._programs: list[Program] = []
        self.collector = self._collect()
        self.event_counter = EventCounter(self.redis.url)
        environ = {
            "LIVE_QUEUE_URL": self.redis.url,
            "LIVE_LEDGER": str(directory / "ledger"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._collector_port}",
        }
        self.consumer = Consumer(
            *("soak", "process", "-n", "-w", str(WORKERS), "-M", str(RECYCLE)),
            *("-c", "0.2", "-d", "0.01", "-m", "0.05"),
            log=directory / "consumer.log",
            environ=environ | {"HUEY_OTEL_METRICS_PORT": str(self.port)},
        )
        self.producer = Program(
            *("-m", "tests.live.apps.soak", str(tasks)),
            log=directory / "producer.log",
            environ=environ,
        )
        self._programs += [self.consumer, self.producer]

    def _collect(self) -> Program:
        program = Program(
            *("-m", "tests.live.apps.collector", str(self._collector_port)),
            str(self.directory / "spans"),
            log=self.directory / "collector.log",
            environ={},
        )
        self._programs.append(program)
        return program

    def restart_redis(self) -> None:
        """Stop it as an administrator does, saving to disk, and start it again."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.shutdown(save=True)
        self.redis.stop()
        self.redis.start()

    def restart_collector(self) -> None:
        self.collector.kill()
        self.collector = self._collect()

    def lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []

    def ran(self) -> int:
        return len(self.lines("ledger-ran"))

    def report(self) -> dict[str, object]:
        path = self.directory / f"ledger-report-{self.consumer.pid}"
        told: dict[str, object] = json.loads(path.read_text())
        return told

    def end(self) -> None:
        for program in self._programs:
            program.clean_up()
        self.redis.remove()


def memory(pid: int) -> int:
    """What the process *pid* has in memory, in bytes; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def summed(page: str, name: str, label: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for (metric, labels), value in samples(page).items():
        if metric == name and value:
            found[dict(labels).get(label, "")] += int(value)
    return found


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def steps(tasks: int) -> Iterator[int]:
    yield from (tasks * step // SAMPLES for step in range(1, SAMPLES + 1))


def watch(soak: Soak) -> list[tuple[int, int]]:
    """Print figures during the work, and restart Redis and the collector."""
    restarts = {
        4: soak.restart_redis,
        8: soak.restart_collector,
        12: soak.restart_redis,
        16: soak.restart_collector,
    }
    began = time.monotonic()
    seen = []
    say("seconds    ran  main-MB  workers-MB  fds  recycled  dropped")
    for step, enough in enumerate(steps(soak.tasks), 1):
        last = step == SAMPLES

        def ready(enough: int = enough, *, last: bool = last) -> bool:
            ended = not soak.producer.running and last
            return soak.ran() >= enough or (ended and idle(soak))

        while not ready():
            time.sleep(0.5)
        page = metrics(soak.port)
        main = memory(soak.consumer.pid)
        fds = descriptors(soak.consumer.pid)
        seen.append((main, fds))
        workers = sum(memory(pid) for pid in soak.consumer.children())
        recycled = summed(page, n.WORKER_RESTARTS_TOTAL, "reason")
        dropped = summed(page, n.TELEMETRY_DROPPED_TOTAL, "reason")
        say(
            f"{time.monotonic() - began:7.0f} {soak.ran():6d} {main / 2**20:8.1f}"
            f" {workers / 2**20:11.1f} {fds:4d} {dict(recycled)} {dict(dropped)}",
        )
        if step in restarts:
            restarts[step]()
            say(f"        {restarts[step].__name__}")
    return seen


def idle(soak: Soak) -> bool:
    with redis.Redis.from_url(soak.redis.url) as client:
        return not client.llen(QUEUE)


def compare(soak: Soak, seen: list[tuple[int, int]]) -> bool:
    """Print what ran beside what telemetry says of it; True if they agree."""
    told = soak.report()
    page, losses = str(told["page"]), told["losses"]
    ran = Counter(soak.lines("ledger-ran"))
    failed = sum(int(number) % 100 == 0 for number in ran)
    attempts = summed(page, n.TASK_ATTEMPTS_TOTAL, "task").total()
    outcomes = summed(page, n.TASK_ATTEMPTS_FINISHED_TOTAL, "outcome")
    expected = Counter(success=len(ran) - failed, error=failed)
    ends = summed(page, n.TASKS_FINISHED_TOTAL, "outcome")
    refused = len(soak.lines("ledger-refused"))
    spans = [line.split() for line in soak.lines("spans")]
    processed = Counter(number for kind, number in spans if kind == "5")
    events = summed(page, n.EVENTS_TOTAL, "status")
    lost_spans = dict(losses).get(n.LOSS_SPANS, 0) if isinstance(losses, dict) else 0
    quarter = seen[len(seen) // 4][0]
    say(f"enqueues refused by Redis  {refused}, which it may have taken")
    say(f"ran                        {ran.total()}, {len(ran)} different")
    say(f"attempts counted           {attempts}")
    say(f"attempts ended, counted    {dict(outcomes)}")
    say(f"tasks ended, counted       {dict(ends)}")
    say(f"events told                {dict(events)}")
    say(f"events received            {dict(soak.event_counter.received)}")
    say(f"events missed              {soak.event_counter.missed}")
    say(f"losses of the consumer     {losses}")
    say(f"spans of attempts received {processed.total()}, {len(processed)} different")
    say(f"memory of the main process {quarter / 2**20:.1f} MB after a quarter,")
    say(f"                           {seen[-1][0] / 2**20:.1f} MB at the end")
    say(f"its descriptors            {sorted({fds for _, fds in seen})}")
    checks = {
        "each task ran once": set(ran.values()) == {1},
        "attempts counted": attempts == len(ran),
        "attempts ended": outcomes == expected,
        # Some tasks were popped but not run, because Redis went away.
        "tasks ended": soak.tasks - refused <= ends.total() <= soak.tasks,
        "starts told": events["started"] == len(ran),
        "events received or missed": soak.event_counter.received.total()
        + soak.event_counter.missed
        == events.total(),
        "spans received or counted as lost": len(processed) + lost_spans
        >= len(ran)
        >= len(processed),
        "memory flat": seen[-1][0] - quarter < GROWTH,
        "descriptors flat": len({fds for _, fds in seen[1:]}) <= 3,
    }
    for name, right in checks.items():
        say(f"{'yes' if right else 'NO'}: {name}")
    return all(checks.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=int)
    parser.add_argument("--keep", type=Path, help="a directory for all that is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        directory = options.keep or Path(made)
        soak = Soak(directory, options.tasks)
        try:
            wait_until(lambda: soak.ran() > 0)
            seen = watch(soak)
            assert soak.producer.wait(60) == 0
            wait_until(lambda: idle(soak))
            assert soak.consumer.stop() == 0
            return 0 if compare(soak, seen) else 1
        finally:
            soak.end()


if __name__ == "__main__":
    sys.exit(main())
