"""A small web shop: the queue is `runtime.shop.huey`, its tasks are registered here."""

from runtime.shop import tasks
from runtime.shop.queue import huey

__all__ = ["huey", "tasks"]

# huey has limits of time and rate from 3.0 on.
if hasattr(huey, "rate_limit"):
    from runtime.shop import limits

    __all__ += ["limits"]
