"""What was heard of each publisher: finds events that are missing or come twice."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

_MOST_PUBLISHERS: Final = 10_000
"""That are known at once; the one that was silent for longest is forgotten."""

_MOST_GAPS: Final = 64
"""Of one publisher that are known exactly."""

_LONGEST_NAME: Final = 2_048
_LARGEST_NUMBER: Final = 10**12
"""What is longer or larger is not ours."""


class Heard:
    """Notes the publisher and the number of each event.

    `missed` counts the numbers that have not come, between the first and the last one
    of each publisher, and is never too many. `repeated` counts events that came before.
    """

    def __init__(self) -> None:
        self.missed = 0
        self.repeated = 0
        self._publishers: OrderedDict[str, _Numbers] = OrderedDict()

    def is_new(self, event: Mapping[str, Any]) -> bool:
        """Note *event*; False if it came before. One without a number is new."""
        publisher, number = event.get("publisher"), event.get("seq")
        if (
            type(publisher) is not str
            or len(publisher) > _LONGEST_NAME
            # A bool is an int as well.
            or type(number) is not int
            or not 0 < number <= _LARGEST_NUMBER
        ):
            return True
        numbers = self._publishers.get(publisher)
        if numbers is None:
            if len(self._publishers) >= _MOST_PUBLISHERS:
                self._publishers.popitem(last=False)
            self._publishers[publisher] = _Numbers(number)
            return True
        self._publishers.move_to_end(publisher)
        more = numbers.take(number)
        if more is None:
            self.repeated += 1
            return False
        self.missed += more
        return True

    def has(self, event: Mapping[str, Any]) -> bool:
        """Whether *event*, which is not noted, came before."""
        numbers = self._publishers.get(str(event.get("publisher")))
        number = event.get("seq")
        return numbers is not None and type(number) is int and numbers.has(number)


_Gaps = list[tuple[int, int, int]]
"""Ranges of numbers in their order: first, last, and how many have not come."""


class _Numbers:
    """The numbers of one publisher, of which *first* was heard first."""

    __slots__ = ("_after", "_before", "_first", "_last")

    def __init__(self, first: int) -> None:
        self._first = self._last = first
        # What comes late is new, and only what follows the first one was missed.
        self._before: _Gaps = [(1, first - 1, first - 1)] if first > 1 else []
        self._after: _Gaps = []

    def take(self, number: int) -> int | None:
        """How many more are missing, now that *number* has come; None if it had."""
        if number > self._last:
            missing = number - self._last - 1
            if missing:
                self._after.append((self._last + 1, number - 1, missing))
                _bound(self._after)
            self._last = number
            return missing
        if number < self._first:
            return 0 if _fill(self._before, number) else None
        return -1 if _fill(self._after, number) else None

    def has(self, number: int) -> bool:
        """Whether *number* has come."""
        return self._first <= number <= self._last and not any(
            first <= number <= last for first, last, _ in self._after
        )


def _fill(gaps: _Gaps, number: int) -> bool:
    """Take *number* out of *gaps*; False if it is in none of them."""
    for at, (first, last, missing) in enumerate(gaps):
        if first <= number <= last:
            if missing == last - first + 1:
                parts = [
                    (first, number - 1, number - first),
                    (number + 1, last, last - number),
                ]
            else:
                parts = [(first, last, missing - 1)]
            gaps[at : at + 1] = [part for part in parts if part[2]]
            _bound(gaps)
            return True
    return False


def _bound(gaps: _Gaps) -> None:
    """Join the two oldest if there are too many: which of their numbers came is lost.

    One that came, and comes again, is then taken for one that was missing.
    """
    if len(gaps) > _MOST_GAPS:
        (first, _, some), (_, last, more) = gaps[:2]
        gaps[:2] = [(first, last, some + more)]
