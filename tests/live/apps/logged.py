"""A queue whose log lines have the ids of spans, as the documents show it."""

import os

if "LIVE_GREENLETS" in os.environ:
    from gevent import monkey

    monkey.patch_all()

import logging.config

from huey import RedisHuey

from huey_otel import instrument

if "LIVE_LOG" in os.environ:
    from app.settings import LOGGING

    logging.config.dictConfig(LOGGING)

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
logger = logging.getLogger("application")


@huey.task(context=True)
def say(task):
    logger.info("task %s says a word", task.id)


@huey.task(retries=1, context=True)
def fail(task):
    logger.info("task %s fails", task.id)
    raise ValueError("on purpose")


@huey.task(retries=1, retry_delay=1)
def fail_and_wait():
    raise ValueError("on purpose")


@huey.task()
def give_a_function():
    return lambda: None
