"""The shop's queue, instrumented."""

import os

from huey import RedisHuey

from huey_otel import instrument

huey = RedisHuey(
    "shop", url=os.environ.get("SHOP_REDIS_URL", "redis://localhost:6379/0")
)
instrument(huey)
