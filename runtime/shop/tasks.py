"""The tasks of the shop. Arguments decide what they do and how often they fail."""

import os
import time
from collections.abc import Iterable

from huey import CancelExecution, RetryTask, crontab
from huey.api import Task
from opentelemetry import trace

from runtime.shop.queue import huey
from runtime.shop.work import BusyError, DeclinedError, attempt_of, detach

TRACER = trace.get_tracer("shop")

# A demonstration cannot wait for the night.
REPORT_TIME = (
    crontab(minute="*")
    if os.environ.get("SHOP_REPORT") == "every-minute"
    else crontab(hour="3", minute="0")
)


@huey.task(retries=2, context=True)
def charge_card(
    order: int, amount: float, declines: int = 0, *, task: Task
) -> dict[str, int | float]:
    """Charge *amount*; the bank declines the first *declines* attempts.

    The result has the arguments of `send_receipt`, which can follow it.
    """
    with TRACER.start_as_current_span("bank.charge"):
        time.sleep(0.02)
        if attempt_of(task) <= declines:
            raise DeclinedError(f"the card of order {order} was declined")
    return {"order": order, "amount": amount}


@huey.task()
def send_receipt(order: int, amount: float) -> None:
    """Mail the receipt of a paid order."""
    time.sleep(0.01)


@huey.task(context=True)
def await_transfer(order: int, *, polls: int, task: Task) -> None:
    """Look for the money of *order*, and again each second, *polls* times.

    huey does not count retries that a task requests, so the task counts them.
    """
    detach(task)
    if polls:
        task.kwargs["polls"] = polls - 1
        raise RetryTask(f"order {order} is not paid yet", delay=1)


@huey.task(retries=3, retry_delay=1, context=True)
def call_courier(order: int, busy: int = 0, *, task: Task) -> None:
    """Have *order* picked up; the first *busy* calls are not answered."""
    time.sleep(0.01)
    if attempt_of(task) <= busy:
        raise BusyError(f"the courier for order {order} did not answer")


@huey.task()
def pack_order(order: int, *, withdrawn: bool = False) -> None:
    """Pack *order*, unless the customer has withdrawn it."""
    if withdrawn:
        raise CancelExecution(retry=False)
    time.sleep(0.03)


@huey.task()
def publish_photo(photo: str, widths: Iterable[int], seconds: float) -> None:
    """Resize *photo* to each of *widths*, each in a task of its own."""
    for width in widths:
        resize_photo(photo, width, seconds)


@huey.task()
def resize_photo(photo: str, width: int, seconds: float) -> None:
    """Resize *photo*, which takes *seconds*: the slow task."""
    time.sleep(seconds)


@huey.task()
def sync_stock(warehouse: str, seconds: float) -> None:
    """Count the stock of *warehouse*; refused while another task counts it."""
    with stock_lock(warehouse):
        time.sleep(seconds)


def stock_lock(warehouse: str):  # type: ignore[no-untyped-def]  # huey's TaskLock
    """Return the lock that a task holds while it counts *warehouse*."""
    return huey.lock_task(f"stock-{warehouse}")


@huey.task()
def announce_offer(offer: int) -> None:
    """Announce *offer*; enqueued with `expires`, because offers end."""
    time.sleep(0.01)


@huey.task()
def remind_cart(customer: int) -> None:
    """Remind *customer* of a full cart; enqueued with a delay."""
    time.sleep(0.01)


@huey.periodic_task(REPORT_TIME)
def nightly_report() -> None:
    """Add up the day."""
    time.sleep(0.05)
