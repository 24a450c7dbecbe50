"""A queue whose consumer checks its workers but never replaces one."""

import os
import time

from huey import RedisHuey

from huey_otel import instrument


class Queue(RedisHuey):
    def create_consumer(self, **options):
        consumer = super().create_consumer(**options)
        consumer.check_worker_health = lambda: True
        return consumer


huey = Queue("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)


@huey.task()
def hang():
    huey.storage.conn.lpush("hangs", os.getpid())
    time.sleep(60)
