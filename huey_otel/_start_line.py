"""The start line: what a consumer says of its telemetry when it starts."""

import logging
from typing import Final

from huey_otel._settings import Propagation
from huey_otel._version import version

# huey's own logger: `huey_consumer` gives that one a handler, and no other.
logger: Final = logging.getLogger("huey.consumer")


def log(
    *,
    queue: str,
    page: str,
    events: str,
    spans: str,
    propagation: Propagation,
    periodic: bool,
) -> None:
    """Say in one line where everything goes; no passwords."""
    logger.info(
        "huey-otel %s: queue %s, metrics %s, events %s, spans %s, propagation %s,"
        " periodic tasks %s",
        version(),
        queue,
        page,
        events,
        spans,
        "by a callable" if callable(propagation) else propagation,
        "on" if periodic else "off",
    )
