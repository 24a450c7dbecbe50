"""Several hueys of one process: two of one name, one serializer for all.

Prints the page that they share, once their consumers, of the type in argv, are done.
"""

import os
import sys
import time

from huey import RedisHuey
from huey.serializer import SignedSerializer
from prometheus_client import generate_latest

from huey_otel import instrument

URL = os.environ["LIVE_QUEUE_URL"]
serializer = SignedSerializer(secret="of all")
first = RedisHuey("live", url=URL, serializer=serializer)
namesake = RedisHuey("live", url=URL, serializer=serializer)
second = RedisHuey("second", url=URL, serializer=serializer)
instrumentations = [instrument(huey) for huey in (first, namesake, second)]


@second.task()
def follow(number):
    return number


@first.task(name="work")
def work(number):
    follow(number)


@namesake.task(name="work")
def work_of_the_namesake(number):
    follow(number)


if __name__ == "__main__":
    from tests.live.apps import several_hueys

    hueys = (several_hueys.first, several_hueys.second)
    consumers = [
        huey.create_consumer(worker_type=sys.argv[1], workers=2, periodic=False)
        for huey in hueys
    ]
    for consumer in consumers:
        consumer.start()
    for number in range(50):
        several_hueys.work(number)
        several_hueys.work_of_the_namesake(number)
    while any(huey.pending() for huey in hueys):
        time.sleep(0.05)
    # The second one last, because it gets the tasks of the first one.
    for consumer in consumers:
        while consumer.huey.pending():
            time.sleep(0.05)
        consumer.stop(graceful=True)
    for instrumentation in several_hueys.instrumentations:
        instrumentation.flush(60)
    sys.stdout.write(generate_latest().decode())
