"""Tasks with a time limit or a rate limit, which need huey 3.0 or newer."""

import time

from huey.api import Task
from huey.exceptions import RateLimitExceeded

from runtime.shop.queue import huey
from runtime.shop.work import attempt_of

DAY = 24 * 60 * 60
PAGE = 0.05


@huey.task(timeout=1, context=True)
def import_catalogue(supplier: str, pages: int, *, task: Task) -> None:
    """Import *pages* of a catalogue, 20 a second; the time limit is one second.

    huey interrupts a task in a process or a greenlet, but not in a thread: there the
    task checks its timeout itself.
    """
    for _page in range(pages):
        task.check_timeout()
        time.sleep(PAGE)


@huey.task()
def text_customer(customer: str, daily_limit: int) -> None:
    """Send *customer* a text message, of which there are *daily_limit* a day."""
    with huey.rate_limit(f"texts-{customer}", daily_limit, per=DAY, retry=False):
        time.sleep(0.01)


@huey.task(retries=2, context=True)
def list_offer(offer: int, refusals: int = 0, *, task: Task) -> None:
    """List *offer* on a market place, which first refuses *refusals* times."""
    if attempt_of(task) <= refusals:
        raise RateLimitExceeded("market-place", delay=1, retry=False)
    time.sleep(0.01)
