"""The buckets of histograms, as an option."""

import math

import pytest

from huey_otel._options.table import OPTIONS


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("often", ValueError),
        (1.5, TypeError),
        ([True], TypeError),
        ([0.1, "1"], TypeError),
        ([], ValueError),
        ([0, 1], ValueError),
        ([-1, 1], ValueError),
        ([1, 1], ValueError),
        ([2, 1], ValueError),
        ([math.nan], ValueError),
        ([math.inf], ValueError),
        (range(1, 200), ValueError),
    ],
)
def test_wrong_buckets_are_refused_by_name(given, error):
    with pytest.raises(error, match=r"duration_buckets.*expected"):
        OPTIONS["duration_buckets"].argument(given)


def test_infinity_may_be_the_last_bucket():
    assert OPTIONS["wait_buckets"].argument([1, 2.5, math.inf]) == (1.0, 2.5)
