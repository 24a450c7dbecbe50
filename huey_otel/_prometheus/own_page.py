"""The own page: what a consumer has counted itself, as text for those who are away.

Not what else is in its registry, nor the gauges of the queue, which any reader of the
queue's storage can ask for.
"""

from collections.abc import Callable
from typing import Final

from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.exposition import EOF, Family

LASTING: Final = ("counter", "histogram")
"""Types of metrics that are as true after the end of a consumer as before."""


def own_page(
    collector: Collector, belongs: Callable[[str], bool], *, gauges: bool
) -> str:
    """The OpenMetrics text of *collector*, of the queues that are on the page.

    *belongs* says of a queue's name whether it is. Without *gauges* it has only what
    lasts.
    """
    collector.foresee()
    parts = []
    for family in collector.collect():
        if isinstance(family, Family) and (gauges or family.type in LASTING):
            own = family.of_queues(belongs)
            if own.shows_anything:
                parts.append(own.text(openmetrics=True))
    return "".join([*parts, EOF])
