"""What the shop's tasks share: their errors, and which attempt is running."""

from huey.api import Task


class DeclinedError(Exception):
    """The bank said no."""


class BusyError(Exception):
    """Nobody picked up the phone."""


def detach(task: Task) -> None:
    """Take *task* out of its own arguments.

    huey 2 leaves it there, where a retry would have to pickle it, and cannot.
    """
    task.kwargs.pop("task", None)


def attempt_of(task: Task) -> int:
    """Count the attempts of *task*, the running one included.

    For tasks whose retries are those of their decorator.
    """
    detach(task)
    return int(task.default_retries - task.retries + 1)
