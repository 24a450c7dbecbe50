"""The variants: a bare huey, huey-otel in its modes, and others who watch a huey.

The others run as their own documentation sets them up. Each is imported only where it
is used, so that it costs the others no memory.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from huey import Huey

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BARE: Final = "bare huey"
METRICS: Final = "metrics and events"
ONE_PERCENT: Final = "everything, 1 % sampled"
FULL: Final = "everything, 100 % sampled"
STATS: Final = "huey.contrib.stats"
SENTRY: Final = "sentry-sdk"

SAMPLERS: Final = {
    ONE_PERCENT: {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    },
    FULL: {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
}
"""The environment of the variants that make spans."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An instrumented huey's telemetry: deliver it, count what it reported and lost.

    `told` counts in the instrumentation's own unit: attempts or rows.
    """

    settle: Callable[[], object] = lambda: None
    told: Callable[[], int] = lambda: 0
    lost: Callable[[], dict[str, int]] = field(default=dict)


def watch(variant: str, huey: Huey) -> Watched:
    """Instrument *huey* as *variant*."""
    if variant == BARE:
        return Watched()
    if variant == STATS:
        return _stats(huey)
    if variant == SENTRY:
        return _sentry()
    return _ours(huey)


def attempts(registry: "CollectorRegistry") -> int:
    """How many attempts the metrics of *registry* have counted to their end."""
    from huey_otel._names import TASK_ATTEMPTS_FINISHED_TOTAL

    return sum(
        int(sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == TASK_ATTEMPTS_FINISHED_TOTAL
    )


def _ours(huey: Huey) -> Watched:
    from prometheus_client import REGISTRY

    from huey_otel import instrument

    instrumentation = instrument(huey)

    def lost() -> dict[str, int]:
        return {
            why: number for why, number in instrumentation.dropped.items() if number
        }

    return Watched(
        lambda: instrumentation.flush(30.0), lambda: attempts(REGISTRY), lost
    )


def _stats(huey: Huey) -> Watched:
    from huey.contrib import stats
    from peewee import SQL, SqliteDatabase, fn

    # SQLite's cheapest settings; the directory is the run's own.
    path = Path(os.environ["BENCH_PLACE"]) / f"{huey.name}.db"
    pragmas = {"journal_mode": "wal", "synchronous": "normal"}
    made = stats.HueyStats(huey, SqliteDatabase(str(path), pragmas=pragmas))
    made.connect()

    def rows() -> int:
        # Old rows are deleted, but ids go on, so the highest id counts all rows.
        return stats.HueyEvent.select(fn.MAX(SQL("id"))).scalar() or 0

    return Watched(made._flush, rows)  # noqa: SLF001 - it has no public one


def _sentry() -> Watched:
    import sentry_sdk

    # By default it drops what is more than 100 tasks behind.
    sentry_sdk.init(
        dsn=os.environ["BENCH_SENTRY"],
        traces_sample_rate=1.0,
        transport_queue_size=100_000,
    )
    return Watched(lambda: sentry_sdk.flush(30.0))
