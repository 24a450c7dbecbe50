"""The bounds of the histograms' buckets, in seconds, unless an option sets others."""

from typing import Final

_DECADE: Final = (1.0, 1.25, 1.5, 1.85, 2.3, 2.8, 3.4, 4.2, 5.2, 6.4, 8.0)
"""Steps of at most 1.25, so a quantile that is read between them is off by 25 %."""

DURATION_BUCKETS: Final = (
    0.005,
    *(round(bound * first, 6) for first in (0.01, 0.1, 1.0) for bound in _DECADE),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
WAIT_BUCKETS: Final = (
    *(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
SEMCONV_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
