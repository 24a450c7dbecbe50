"""Turns: everything that is compared runs in many short rounds, one after the other.

A shared machine's speed changes from minute to minute. Within one round the change
affects all alike, and the fastest of many rounds is the undisturbed cost.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


def in_turns(
    measures: Mapping[str, Callable[[], T]], rounds: int
) -> dict[str, list[T]]:
    """Call all *measures* each round, and return their results by round.

    Each round begins with the next of them.
    """
    found: dict[str, list[T]] = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(measures[name]())
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the median and the middle half of all rounds."""

    least: float
    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise at least two *values*."""
        lower, median, upper = statistics.quantiles(values, method="inclusive")
        return cls(min(values), median, lower, upper)

    def cells(self, digits: int = 1) -> list[str]:
        """The least, median and middle half as cells of a table."""
        middle = f"{self.lower:.{digits}f} to {self.upper:.{digits}f}"
        return [f"{self.least:.{digits}f}", f"{self.median:.{digits}f}", middle]


def paired(values: Sequence[float], to: Sequence[float]) -> float:
    """The median ratio of *values* to the values of the same round in *to*."""
    return statistics.median(one / other for one, other in zip(values, to, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is text, and the others figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
