"""Turns: all that is compared runs in short rounds, one after the other, many times.

A shared machine's speed changes from minute to minute; within one round it hits
all alike, and the least of many rounds is what a thing costs undisturbed.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


def in_turns(
    measures: Mapping[str, Callable[[], T]], rounds: int
) -> dict[str, list[T]]:
    """What each of *measures* gave, round by round; each round begins with another."""
    found: dict[str, list[T]] = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(measures[name]())
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """The least and the median of all rounds, and the middle half of them."""

    least: float
    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least two *values*."""
        lower, median, upper = statistics.quantiles(values, method="inclusive")
        return cls(min(values), median, lower, upper)

    def cells(self, digits: int = 1) -> list[str]:
        """Least, median and middle half, for a table."""
        middle = f"{self.lower:.{digits}f} to {self.upper:.{digits}f}"
        return [f"{self.least:.{digits}f}", f"{self.median:.{digits}f}", middle]


def paired(values: Sequence[float], to: Sequence[float]) -> float:
    """The median ratio of *values* to those of the same round in *to*."""
    return statistics.median(one / other for one, other in zip(values, to, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
