"""Cases with a time limit or a rate limit; they need huey 3."""

from uuid import uuid4

from huey_otel import events as e
from runtime.load.cases import DONE, LATER, Case, case_of
from runtime.shop.limits import import_catalogue, list_offer, text_customer


def imported(number: int) -> Case:
    """Import a catalogue in time."""
    return case_of(import_catalogue.s(f"supplier-{number}", pages=2), *DONE)


def import_timed_out(number: int) -> Case:
    """Import a catalogue that is too long for its time limit."""
    task = import_catalogue.s(f"supplier-{number}", pages=200)
    return case_of(task, e.EVENT_STARTED, e.EVENT_TIMEOUT)


def texted(_number: int) -> Case:
    """Send a customer a message."""
    return case_of(text_customer.s(f"customer-{uuid4()}", daily_limit=1), *DONE)


def texted_too_often(_number: int) -> Case:
    """Send a message to a customer whose daily limit is 0."""
    task = text_customer.s(f"customer-{uuid4()}", daily_limit=0)
    return case_of(task, e.EVENT_STARTED, e.EVENT_RATE_LIMITED)


def listed_later(number: int) -> Case:
    """List an offer on a market place that first asks us to come back later."""
    limited = (e.EVENT_STARTED, e.EVENT_RATE_LIMITED)
    return case_of(list_offer.s(number, refusals=1), *limited, *LATER, *DONE)
