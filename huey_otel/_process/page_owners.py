"""The owners of series: on which metrics page of a process each one is."""


class PageOwners:
    """Says on which page of a process a series is: each is on one.

    Those of a queue are on the page of its consumer, and on the first page those of
    the process, and of queues that it only enqueues to.
    """

    def __init__(self) -> None:
        self._queues: dict[int, str] = {}

    def add(self, number: int, queue: str) -> None:
        """Source *number* has a page, the one of *queue*."""
        self._queues[number] = queue

    def remove(self, number: int) -> None:
        """It has none from now on."""
        self._queues.pop(number, None)

    def owns(self, number: int, queue: str) -> bool:
        """Whether series of *queue* are on the page of source *number*."""
        known = self._queues.copy()
        own = [one for one, name in known.items() if name == queue]
        return min(own or known, default=number) == number
