"""The rules on several Prometheus, which keep histograms in several ways."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runtime.prometheus.rules.files import OBJECTIVES, RULES, files
from runtime.prometheus.rules.settings import settings_of
from tests.live.processes import Program
from tests.live.scraping import Prometheus, metrics, serves, value
from tests.support.programs import ROOT, free_port
from tests.support.waiting import wait_until

PROMETHEUS_3 = ROOT / ".prometheus3" / "prometheus"
NATIVE = "convert_classic_histograms_to_nhcb: true"
BOTH = f"{NATIVE}\n  always_scrape_classic_histograms: true"

on_prometheus_3 = [
    pytest.mark.proof,
    pytest.mark.skipif(
        not PROMETHEUS_3.exists(), reason="no Prometheus 3 (`make prometheus3`)"
    ),
]

pytestmark = pytest.mark.once

TASK = "runtime.shop.tasks.resize_photo"
WAIT = "huey_task_wait_seconds"
OBJECTIVE = f"""
[[slo]]
name = "photos"
queue = "shop"
task = '{TASK}'
objective = 99
wait_seconds = 0.1
events = 2
"""

# The second waits for the first, and so on.
ENQUEUE = """
import sys
from runtime.shop.tasks import resize_photo
for seconds in map(float, sys.argv[1:]):
    resize_photo('photo', 320, seconds)
"""


@pytest.mark.parametrize(
    ("server", "scraping"),
    [
        pytest.param({}, "", id="classic"),
        pytest.param(
            {"executable": str(PROMETHEUS_3)},
            "",
            id="3-classic",
            marks=on_prometheus_3,
        ),
        pytest.param(
            {"executable": str(PROMETHEUS_3), "features": "native-histograms"},
            NATIVE,
            id="3-native",
            marks=on_prometheus_3,
        ),
        pytest.param(
            {"executable": str(PROMETHEUS_3), "features": "native-histograms"},
            BOTH,
            id="3-both",
            marks=on_prometheus_3,
        ),
    ],
)
@pytest.mark.timeout(150)
def test_rules_hold_however_histograms_are_kept(
    server: Mapping[str, str],
    scraping: str,
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    environ = {"SHOP_REDIS_URL": redis_url}
    port = free_port()
    consumer = Program(
        *("-m", "runtime", "consumer", "runtime.shop.huey", "-k", "thread", "-w", "1"),
        log=tmp_path / "consumer.log",
        environ=environ | {"HUEY_OTEL_METRICS_PORT": str(port)},
    )
    keep(consumer)
    made = files(settings_of(OBJECTIVE))
    # An objective is evaluated each minute.
    made[OBJECTIVES] = made[OBJECTIVES].replace("interval: 1m", "interval: 1s")
    for name in (RULES, OBJECTIVES):
        (tmp_path / name).write_text(made[name])
    wait_until(lambda: serves(port))
    prometheus = Prometheus(
        *(tmp_path / "prometheus", port),
        interval="500ms",
        rules=[tmp_path / RULES, tmp_path / OBJECTIVES],
        scraping=scraping,
        **server,
    )
    keep(prometheus)
    prometheus.wait_until_ready()

    def enqueue(*seconds: float) -> None:
        keep(
            Program(
                *("-c", ENQUEUE, *map(str, seconds)),
                log=tmp_path / f"producer-{len(seconds)}.log",
                environ=environ,
            )
        )

    def counted(part: str, **labels: str) -> float:
        return value(metrics(port), f"{WAIT}_{part}", task=TASK, **labels) or 0

    # A rate is seen from the first sample of its series on.
    enqueue(0)
    attempts = f'huey_task_attempts_total{{task="{TASK}"}}'
    wait_until(lambda: prometheus.values(attempts) == {(): 1})
    wait_until(lambda: counted("count") == 1)
    early = counted("bucket", le="0.1")
    seen = (
        f'({WAIT}_count{{task="{TASK}"}} or histogram_count({WAIT}{{task="{TASK}"}}))'
    )
    wait_until(lambda: prometheus.values(seen) == {(): 1})
    enqueue(0.3, 0.3, 0.3, 0)
    wait_until(lambda: prometheus.values(seen) == {(): 5})

    late = 1 - (counted("bucket", le="0.1") - early) / 4
    assert late >= 0.75
    said = f'queue_task:huey_slo_errors:ratio5m{{slo="photos", task="{TASK}"}}'
    wait_until(lambda: math.isclose(prometheus.values(said).get((), 0), late))
    events = f'queue_task:huey_slo_events:increase1h{{slo="photos", task="{TASK}"}}'
    wait_until(lambda: prometheus.values(events).get((), 0) >= 4)
    wait_until(lambda: prometheus.faults() == {})
    burns = ("HueyWaitBudgetBurns", "firing", "photos")
    wait_until(
        lambda: burns in prometheus.values("ALERTS", "alertname", "alertstate", "slo")
    )
    classic = prometheus.values(f'count({WAIT}_bucket{{task="{TASK}"}})')
    assert bool(classic) == (scraping != NATIVE)
