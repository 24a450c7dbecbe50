"""The variants: a bare huey, huey-otel in its modes, and other instrumentations.

Each is imported only where it is used, so that it costs the others no memory.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from huey import Huey

BARE: Final = "bare huey"
METRICS: Final = "metrics and events"
UNSAMPLED: Final = "tracing, nothing sampled"
ONE_PERCENT: Final = "tracing, 1 % sampled"
FULL: Final = "tracing, 100 % sampled"
STATS: Final = "huey.contrib.stats"
SENTRY: Final = "sentry-sdk"

OURS: Final = (METRICS, UNSAMPLED, ONE_PERCENT, FULL)
SAMPLERS: Final = {
    UNSAMPLED: {"OTEL_TRACES_SAMPLER": "always_off"},
    ONE_PERCENT: {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    },
    FULL: {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
}


@dataclass(frozen=True, slots=True)
class Watched:
    """An instrumented huey's telemetry: deliver it, count what it reported and lost.

    `told` counts in the instrumentation's own unit: attempts, rows or envelopes.
    """

    settle: Callable[[], object] = lambda: None
    told: Callable[[], int] = lambda: 0
    lost: Callable[[], dict[str, int]] = field(default=dict)


def watch(variant: str, huey: Huey, **options: Any) -> Watched:
    """Instrument *huey* as *variant*; *options* are for `instrument`."""
    if variant == BARE:
        return Watched()
    if variant == STATS:
        return _stats(huey)
    if variant == SENTRY:
        return _sentry()
    return _ours(huey, **options)


def _ours(huey: Huey, **options: Any) -> Watched:
    from prometheus_client import REGISTRY

    from huey_otel import instrument
    from huey_otel._names import TASK_ATTEMPTS_FINISHED_TOTAL

    instrumentation = instrument(huey, **options)

    def attempts() -> int:
        return sum(
            int(sample.value)
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == TASK_ATTEMPTS_FINISHED_TOTAL
        )

    def lost() -> dict[str, int]:
        return {
            why: number for why, number in instrumentation.dropped.items() if number
        }

    return Watched(lambda: instrumentation.flush(30.0), attempts, lost)


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
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.integrations.huey import HueyIntegration
    from sentry_sdk.transport import Transport

    envelopes = 0

    class Dropping(Transport):
        """Drops envelopes before they are encoded."""

        def capture_envelope(self, envelope: Envelope) -> None:
            nonlocal envelopes
            envelopes += 1

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=Dropping,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[HueyIntegration()],
    )
    return Watched(told=lambda: envelopes)
