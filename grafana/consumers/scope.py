"""The consumers that were chosen, and what of them several panels show."""

from typing import Final

from grafana.vocabulary.promql import (
    QUEUES,
    RANGE,
    TARGETS,
    WHERE_KNOWN,
    Window,
    counted,
)

# All is any value, and none: a page of one consumer has no label `consumer`.
CHOSEN: Final = ('instance=~"$instance"', 'consumer=~"$consumer"')
THESE: Final = QUEUES.within(*CHOSEN)
CHOSEN_TARGETS: Final = TARGETS.within(CHOSEN[0])
CHOSEN_PAGES: Final = QUEUES.within(CHOSEN[0])
UP: Final = CHOSEN_TARGETS("up")
LOST: Final = WHERE_KNOWN.within(*CHOSEN)
INFO: Final = THESE("huey_consumer_info")
# The exporter tells of the storage once for all consumers of a queue.
STORAGE_AWAY: Final = f"{CHOSEN_PAGES('huey_storage_up')} == 0"
SEEN: Final = f"last_over_time({INFO}[{RANGE}])"
WORKERS: Final = THESE("huey_workers")
BUSY: Final = THESE("huey_worker_busy_seconds_total")


def died() -> str:
    """Give the count of workers that ended by themselves."""
    return THESE("huey_worker_restarts_total", 'reason="died"')


def schedulers_died() -> str:
    """Give the count of schedulers that did."""
    return THESE("huey_scheduler_restarts_total")


def dropped(window: Window = RANGE) -> str:
    """Give how much telemetry was lost, that of whole processes included."""
    return counted(LOST, "huey_telemetry_dropped_total", window=window)
