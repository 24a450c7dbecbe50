"""A huey whose immediate mode is switched, as tests and shells do."""

from huey import RedisHuey

from huey_otel import instrument
from tests.live.received_events import ReceivedEvents
from tests.support.waiting import wait_until


def test_switching_immediate_mode_loses_no_event(
    redis_url: str, received: ReceivedEvents
) -> None:
    huey = RedisHuey("live", url=redis_url)

    @huey.task()
    def nothing() -> None: ...

    with instrument(huey, publish_enqueued=True) as instrumentation:
        for _ in range(10):
            for _ in range(20):
                nothing()
            huey.immediate = True
            huey.immediate = False
        instrumentation.flush()
        wait_until(lambda: len(received.events) >= 200)

    assert [event["status"] for event in received.events] == ["enqueued"] * 200
    assert huey.pending_count() == 200
    huey.storage.conn.connection_pool.disconnect()
