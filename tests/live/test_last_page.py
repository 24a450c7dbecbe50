"""The last page of a huey that is uninstrumented while its consumer runs."""

import pytest
import redis
from huey import RedisHuey

from huey_otel import RedisEventEmitter, instrument
from huey_otel._wire.page import index_of, key_of, unpack
from tests.live.scraping import samples
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.mark.once
def test_what_is_lost_when_it_is_uninstrumented_is_on_it(
    redis_server: RedisServer,
) -> None:
    huey = RedisHuey("q", url=redis_server.url)
    nowhere = RedisEventEmitter(url="redis://127.0.0.1:1/0")
    options = {"publish_metrics": 200.0, "metrics_port": None, "flush_timeout": 0.5}
    instrumentation = instrument(huey, events=nowhere, **options)
    done: list[int] = []
    work = huey.task()(lambda: done.append(1))
    consumer = huey.create_consumer(periodic=False, initial_delay=0.02)
    with redis.Redis.from_url(redis_server.url) as client:
        consumer.start()
        for _ in range(5):
            work()
        wait_until(lambda: len(done) == 5)
        wait_until(lambda: client.zcard(index_of("q")) == 1)

        instrumentation.uninstrument()

        (publisher,) = client.zrange(index_of("q"), 0, -1)
        head, text = unpack(client.get(key_of("q", publisher.decode())))
    consumer.stop(graceful=True)
    huey.storage.pool.disconnect()

    told = {
        dict(labels)["reason"]: number
        for (name, labels), number in samples(text).items()
        if name == "huey_telemetry_dropped_total" and number
    }
    assert (head.ended, told) == (True, {"feed_shutdown": 10.0})
    assert dict(instrumentation.dropped)["feed_shutdown"] == 10
