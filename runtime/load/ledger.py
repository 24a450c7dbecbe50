"""The ledger: the tasks that were enqueued, and the events expected of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One task, and the statuses of its events, in their order.

    `id` is None for a task that another task or the scheduler enqueues: any task of
    that name is accepted. `task` is None for an event about no task. With `repeats`,
    any number of such tasks is accepted, even none.
    """

    task: str | None
    statuses: tuple[str, ...]
    id: str | None = None
    repeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A task whose events are not the expected ones."""

    task: str | None
    id: str | None
    expected: tuple[str, ...]
    seen: tuple[str, ...]

    def __str__(self) -> str:
        task = f"{self.task or 'no task'} {(self.id or '')[:8]}".rstrip()
        expected, seen = (", ".join(side) for side in (self.expected, self.seen))
        return f"{task}: expected {expected or 'nothing'}; seen {seen or 'nothing'}"


@dataclass(slots=True)
class Ledger:
    """All expected tasks, to be compared with the events seen."""

    expected: list[Expected] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the ledger that `write` has written to *path*."""
        rows = json.loads(path.read_text())
        return cls(
            [Expected(**{**row, "statuses": tuple(row["statuses"])}) for row in rows]
        )

    def write(self, path: Path) -> None:
        """Write everything to *path* as JSON."""
        path.write_text(json.dumps([asdict(each) for each in self.expected]))

    def lines(self) -> Iterator[str]:
        """Describe it to a reader: how many of which task, and their events."""
        kinds = Counter((each.task or "", each.statuses) for each in self.expected)
        for (task, statuses), count in sorted(kinds.items()):
            yield f"{count:4}  {task:16}  {', '.join(statuses)}"

    def differences(self, events: Iterable[Mapping[str, Any]]) -> list[Difference]:
        """Compare with all *events*; an empty list means that all are as expected."""
        seen = _histories(events)
        found = []
        anonymous = []
        for each in self.expected:
            if each.id is None:
                anonymous.append(each)
                continue
            _task, statuses = seen.pop(each.id, (each.task, ()))
            if statuses != each.statuses:
                found.append(_difference(each, statuses))
        for each in sorted(anonymous, key=lambda each: each.repeats):
            alike = [key for key, value in seen.items() if value == _history(each)]
            if not alike and not each.repeats:
                found.append(_difference(each, ()))
            for key in alike if each.repeats else alike[:1]:
                del seen[key]
        for key, (task, statuses) in seen.items():
            found.append(Difference(task=task, id=key, expected=(), seen=statuses))
        return found


History = tuple[str | None, tuple[str, ...]]


def _histories(events: Iterable[Mapping[str, Any]]) -> dict[str, History]:
    """Collect the statuses of each task; an event about no task gets its own key."""
    tasks: dict[str, str | None] = {}
    statuses: defaultdict[str, list[str]] = defaultdict(list)
    for number, event in enumerate(events):
        key = event["id"] or f"event {number}"
        tasks[key] = event["task"]
        statuses[key].append(event["status"])
    return {key: (task, tuple(statuses[key])) for key, task in tasks.items()}


def _history(each: Expected) -> History:
    return each.task, each.statuses


def _difference(each: Expected, seen: tuple[str, ...]) -> Difference:
    return Difference(task=each.task, id=each.id, expected=each.statuses, seen=seen)
