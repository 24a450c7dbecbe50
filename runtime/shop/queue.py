"""The shop's queue, instrumented."""

import os

from huey import RedisExpireHuey

from huey_otel import instrument

# Most results are never read, and Redis would keep them for ever.
huey = RedisExpireHuey(
    "shop",
    expire_time=60 * 60,
    url=os.environ.get("SHOP_REDIS_URL", "redis://localhost:6379/0"),
)
instrument(huey)
