"""The backlog: what waits in a queue and for how long, whatever has told it."""

from typing import NamedTuple

from huey_otel import _names as n
from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Unknown
from huey_otel.cli.check.keys import known
from huey_otel.cli.check.words import counted, spoken
from huey_otel.cli.limits import OVERDUE


class Backlog(NamedTuple):
    """Messages on the queue and on the schedule; seconds, `oldest` None if unknown.

    `due` is 0 unless a scheduler should have moved a task, `zone` is true where that
    depends on the time zone of those who schedule.
    """

    waiting: int = 0
    scheduled: int = 0
    oldest: float | None = None
    due: float = 0.0
    zone: bool = False

    @property
    def said(self) -> str:
        """What a consumer would have to do, for people; empty for nothing."""
        if self.waiting:
            wait = "waits" if self.waiting == 1 else "wait"
            since = (
                "" if self.oldest is None else f", the oldest for {spoken(self.oldest)}"
            )
            return f"{counted(self.waiting, 'message')} {wait}{since}"
        if self.due:
            return f"a task has been due for {spoken(self.due)}"
        are = "is" if self.scheduled == 1 else "are"
        return (
            f"{counted(self.scheduled, 'task')} {are} scheduled"
            if self.scheduled
            else ""
        )


def backlog_of(facts: Facts) -> Backlog:
    """What is known of it; all is 0 or None where that is nothing."""
    keys, held, page = facts.keys, facts.held, facts.page
    if keys is not None:
        due = None if isinstance(keys.due, Unknown) else keys.due
        late = due is not None and due.seconds > OVERDUE
        return Backlog(
            waiting=known(keys.main.waiting),
            scheduled=known(keys.main.scheduled),
            oldest=None if isinstance(keys.oldest, Unknown) else keys.oldest,
            due=due.seconds if due is not None and late else 0.0,
            zone=due is not None and not due.exact,
        )
    if held is not None and not isinstance(held, Unknown):
        overdue = held.overdue or 0.0
        return Backlog(
            waiting=held.queue or 0,
            scheduled=held.schedule or 0,
            oldest=held.oldest,
            due=overdue if overdue > OVERDUE else 0.0,
        )
    if page is not None:
        overdue = page.value(n.SCHEDULE_OVERDUE_AGE, facts.queue) or 0.0
        return Backlog(
            waiting=int(page.value(n.QUEUE_LENGTH, facts.queue) or 0),
            oldest=page.value(n.QUEUE_OLDEST_AGE, facts.queue),
            due=overdue if overdue > OVERDUE else 0.0,
        )
    return Backlog()
