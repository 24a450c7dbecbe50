"""Tasks with a limit of time or rate, for which huey has to be 3.0 or newer."""

import time

from huey.api import Task
from huey.exceptions import RateLimitExceeded

from runtime.shop.queue import huey
from runtime.shop.work import attempt_of

DAY = 24 * 60 * 60
PAGE = 0.05


@huey.task(timeout=1, context=True)
def import_catalogue(supplier: str, pages: int, *, task: Task) -> None:
    """Import *pages* of a catalogue, 20 a second, and give up after a second.

    huey interrupts a task in a process or greenlet; in a thread it must ask.
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
    """List *offer* on a market place, which first says *refusals* times "later"."""
    if attempt_of(task) <= refusals:
        raise RateLimitExceeded("market-place", delay=1, retry=False)
    time.sleep(0.01)
