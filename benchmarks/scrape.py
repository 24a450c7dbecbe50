"""What a scrape costs: time, locks and bytes, by the number of tasks.

Each task has succeeded, failed and been retried. `client` is the time of
prometheus_client's own encoder for the same page. `EXCLUSION` is a lock for which the
relay and a fork wait, `COLLECTING` one for which a fork waits. Every figure is the
least of several runs, in milliseconds of CPU.
"""

import gzip
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from benchmarks.document import Promise
from benchmarks.turns import table
from huey_otel._prometheus.claims import register
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.pages import Pages
from huey_otel._safety import forks
from huey_otel._safety.forks import Exclusion
from tests.support.metrics import live_tasks

RUNS = 7
MOST = 200
"""Milliseconds that a page of the most tasks may take."""

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Held:
    """Measures the longest time for which *exclusion* is held."""

    def __init__(self, exclusion: Exclusion) -> None:
        self.longest = 0.0
        self._depth = 0
        self._began = 0.0
        take, release = exclusion.take, exclusion.release

        def taken(timeout: float) -> bool:
            got = take(timeout)
            self._depth += got
            if self._depth == 1:
                self._began = time.thread_time()
            return got

        def released() -> None:
            self._depth -= 1
            if not self._depth:
                self.longest = max(self.longest, time.thread_time() - self._began)
            release()

        exclusion.take, exclusion.release = taken, released  # type: ignore[method-assign]


def least(run: Callable[[], float]) -> float:
    """The least of several runs, in milliseconds."""
    return 1000 * min(run() for _ in range(RUNS))


def timed(do: Callable[[], object]) -> Callable[[], float]:
    """Return a function that calls *do* and returns its CPU seconds."""

    def run() -> float:
        began = time.thread_time()
        do()
        return time.thread_time() - began

    return run


def measure(registered: int, ran: int, exclusion: Held, collecting: Held) -> list[str]:
    """Measure one row of the table."""
    metrics, registry = Collector(), CollectorRegistry()
    register(metrics, registry)
    live_tasks(metrics, registered, ran)
    pages = Pages(registry, lambda: None, lambda: None)
    encode, _ = choose_encoder(OPENMETRICS)
    body = pages.get("/metrics", OPENMETRICS).body

    def scrape() -> object:
        return pages.get("/metrics", OPENMETRICS)

    def held(one: Held) -> Callable[[], float]:
        def run() -> float:
            one.longest = 0.0
            scrape()
            return one.longest

        return run

    def squeeze() -> bytes:
        return gzip.compress(body, compresslevel=1)

    series = sum(not line.startswith(b"#") for line in body.splitlines())
    return [
        f"{ran} of {registered}",
        f"{series:,}",
        f"{len(body) / 1000:,.0f} kB",
        f"{len(squeeze()) / 1000:,.0f} kB",
        f"{least(timed(scrape)):.1f}",
        f"{least(timed(squeeze)):.1f}",
        f"{least(timed(lambda: encode(registry))):.0f}",
        f"{least(held(exclusion)):.2f}",
        f"{least(held(collecting)):.1f}",
    ]


HEAD = (
    *("tasks that ran", "series", "page", "gzip", "page, ms", "gzip, ms"),
    *("client, ms", "EXCLUSION, ms", "COLLECTING, ms"),
)
SIZES = ((10, 10), (100, 20), (100, 100), (1000, 1000))


def rows() -> list[list[str]]:
    """Measure each size."""
    exclusion, collecting = Held(forks.EXCLUSION), Held(forks.COLLECTING)
    return [measure(all_, ran, exclusion, collecting) for all_, ran in SIZES]


def section(measured: list[list[str]]) -> str:
    """The document's section about these figures."""
    return "\n\n".join(
        (
            "## A scrape",
            f"The least of {RUNS} runs, in ms of CPU, as OpenMetrics. Each task has "
            "succeeded, failed and been retried. *client* is what prometheus_client's "
            "own encoder takes for the same page. *EXCLUSION* is how long a scrape "
            "may hold up the relay and a fork, *COLLECTING* how long it may hold up a "
            "fork.",
            table(HEAD, measured),
        )
    )


def promises(measured: list[list[str]]) -> list[Promise]:
    """What these figures must keep."""
    took = dict(zip(HEAD, measured[-1], strict=True))["page, ms"]
    what = f"a scrape of {SIZES[-1][1]:,} tasks: at most {MOST} ms"
    return [(what, f"{took} ms", float(took) <= MOST)]


if __name__ == "__main__":
    sys.stdout.write(table(HEAD, rows()) + "\n")
