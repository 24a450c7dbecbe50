"""The default buckets: how exact a quantile is that is read from them."""

from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._prometheus.collector import Collector
from runtime.demo.metrics import quantile
from tests.support.metrics import page, run

FROM, UP_TO = 0.01, 10.0


def p95_of(seconds: float) -> float:
    """What the page says of a task that always takes *seconds*."""
    collector, registry = Collector(), CollectorRegistry()
    registry.register(collector)
    run(collector, duration=seconds)
    buckets = {
        float(key.partition('le="')[2].partition('"')[0]): number
        for key, number in page(registry, n.TASK_DURATION_SECONDS).items()
        if "_bucket" in key
    }
    found = quantile(0.95, buckets)
    assert found is not None
    return found


@pytest.mark.parametrize("bound", [b for b in DURATION_BUCKETS if FROM <= b < UP_TO])
def test_p95_between_10_ms_and_10_s_is_off_by_at_most_25_percent(bound):
    # The worst is right above a bound; the other end is the next one itself.
    for seconds in (bound * 1.0001, bound * 1.1):
        assert p95_of(seconds) == pytest.approx(seconds, rel=0.25)


def test_bounds_of_durations_are_fine_to_10_s_and_coarse_to_an_hour():
    fine = [one for one in DURATION_BUCKETS if FROM <= one <= UP_TO]

    assert (fine[0], fine[-1]) == (FROM, UP_TO)
    assert max(after / before for before, after in pairwise(fine)) < 1.2501
    assert (DURATION_BUCKETS[0], DURATION_BUCKETS[-1]) == (0.005, 3600)
    assert len(DURATION_BUCKETS) == 42


def test_bounds_of_waits_end_at_half_an_hour():
    assert (WAIT_BUCKETS[0], WAIT_BUCKETS[-1], len(WAIT_BUCKETS)) == (0.005, 1800, 16)
