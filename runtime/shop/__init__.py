"""A small web shop: its queue is `runtime.shop.huey`, its tasks are in `tasks`."""

from runtime.shop import tasks
from runtime.shop.queue import huey

__all__ = ["huey", "tasks"]

# huey has time limits and rate limits from 3.0 on.
if hasattr(huey, "rate_limit"):
    from runtime.shop import limits

    __all__ += ["limits"]
