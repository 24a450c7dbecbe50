"""What the shop's tasks share: their errors, and the number of the attempt."""

from huey.api import Task


class DeclinedError(Exception):
    """The bank declined the card."""


class BusyError(Exception):
    """The courier did not answer."""


def detach(task: Task) -> None:
    """Remove *task* from its own arguments.

    huey 2 leaves it there, and a retry fails, because it cannot be pickled.
    """
    task.kwargs.pop("task", None)


def attempt_of(task: Task) -> int:
    """Return the number of *task*'s running attempt, from 1 on.

    Only right for a task that is called with its decorator's number of retries.
    """
    detach(task)
    return int(task.default_retries - task.retries + 1)
