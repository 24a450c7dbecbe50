"""What happens in the shop: each case is one enqueue and the events expected of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from huey.api import Task, TaskLock

from huey_otel import events as e
from runtime.load.ledger import Expected
from runtime.shop.tasks import (
    announce_offer,
    await_transfer,
    call_courier,
    charge_card,
    pack_order,
    publish_photo,
    remind_cart,
    send_receipt,
    stock_lock,
    sync_stock,
)

DONE: Final = (e.EVENT_STARTED, e.EVENT_FINISHED)
FAILED: Final = (e.EVENT_STARTED, e.EVENT_ERROR_TASK)
LATER: Final = (e.EVENT_RETRYING, e.EVENT_SCHEDULED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A task to enqueue, and the events expected of it and of the tasks it enqueues.

    If `revoked`, the task is revoked before it is enqueued. A `lock` is held until
    the task has been refused.
    """

    task: Task
    expected: tuple[Expected, ...]
    revoked: bool = False
    lock: TaskLock | None = None


def paid(number: int) -> Case:
    """Charge a card, then send the receipt."""
    return _payment(number, declines=0)


def declined_once(number: int) -> Case:
    """Have the bank decline once; the immediate retry succeeds."""
    return _payment(number, declines=1)


def declined(number: int) -> Case:
    """Have the bank decline every attempt, so that no receipt is sent."""
    task = charge_card.s(number, 9.5, declines=3)
    attempt = (*FAILED, e.EVENT_RETRYING)
    return Case(task=task, expected=(expect(task, *attempt, *attempt, *FAILED),))


def transferred(number: int) -> Case:
    """Look for money that is not there yet: the task asks to be retried."""
    task = await_transfer.s(number, polls=1)
    return case_of(task, e.EVENT_STARTED, *LATER, *DONE)


def picked_up(number: int) -> Case:
    """Call a courier who answers."""
    return case_of(call_courier.s(number), *DONE)


def picked_up_later(number: int) -> Case:
    """Call a courier who is busy; the retry comes after a delay."""
    return case_of(call_courier.s(number, busy=1), *FAILED, *LATER, *DONE)


def packed(number: int) -> Case:
    """Pack an order."""
    return case_of(pack_order.s(number), *DONE)


def withdrawn(number: int) -> Case:
    """Pack an order that is withdrawn: the task cancels itself."""
    task = pack_order.s(number, withdrawn=True)
    return case_of(task, e.EVENT_STARTED, e.EVENT_CANCELED)


def photographed(number: int) -> Case:
    """Publish a photo, whose task enqueues two slow ones."""
    task = publish_photo.s(f"photo-{number}", [320, 640], seconds=0.2)
    resized = Expected(task="resize_photo", statuses=DONE)
    return Case(task=task, expected=(expect(task, *DONE), resized, resized))


def counted(number: int) -> Case:
    """Count the stock of a warehouse."""
    return case_of(sync_stock.s(f"warehouse-{number}", seconds=0.05), *DONE)


def counted_twice(_number: int) -> Case:
    """Count a warehouse whose lock is held: the task is refused."""
    warehouse = f"warehouse-{uuid4()}"
    task = sync_stock.s(warehouse, seconds=0.05)
    refused = expect(task, e.EVENT_STARTED, e.EVENT_LOCKED)
    return Case(task=task, expected=(refused,), lock=stock_lock(warehouse))


def offered(number: int) -> Case:
    """Announce an offer before it expires."""
    return case_of(announce_offer.s(number, expires=timedelta(hours=1)), *DONE)


def offered_too_late(number: int) -> Case:
    """Announce an offer that has expired before a worker takes the task."""
    ended = datetime.now(UTC) - timedelta(minutes=1)
    return case_of(announce_offer.s(number, expires=ended), e.EVENT_EXPIRED)


def withdrawn_offer(number: int) -> Case:
    """Revoke an offer before a worker takes the task."""
    task = announce_offer.s(number)
    return Case(task=task, expected=(expect(task, e.EVENT_REVOKED),), revoked=True)


def reminded(number: int) -> Case:
    """Remind a customer three seconds later."""
    return case_of(remind_cart.s(number, delay=3), e.EVENT_SCHEDULED, *DONE)


def case_of(task: Task, *statuses: str) -> Case:
    """Make a case of one task, of which *statuses* are expected."""
    return Case(task=task, expected=(expect(task, *statuses),))


def expect(task: Task, *statuses: str) -> Expected:
    """Expect *statuses* of *task*."""
    return Expected(task=task.name, statuses=statuses, id=task.id)


def _payment(number: int, *, declines: int) -> Case:
    task = charge_card.s(number, 9.5, declines=declines).then(send_receipt)
    failures = (*FAILED, e.EVENT_RETRYING) * declines
    receipt = expect(task.on_complete, *DONE)
    return Case(task=task, expected=(expect(task, *failures, *DONE), receipt))
