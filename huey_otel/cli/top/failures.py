"""Failures: what the stream's events say of tasks that failed in the last minutes."""

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from huey_otel._safety.encodable import LONGEST, number
from huey_otel.cli.top.snapshot import Failing, Failure

SECONDS: Final = 300.0
"""The last minutes."""

_STEP: Final = 10
"""Seconds of one count."""

_MOST_TASKS: Final = 1_000
"""Tasks that are told apart, for as long as they fail."""

_MOST_KEPT: Final = 200
"""Failures that are kept whole."""

_MOST_AT_ONCE: Final = 1_000_000
"""Failures of one event."""

_OTHER: Final = "(other)"


class Failures:
    """Notes events of errors; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: deque[tuple[int, Counter[str]]] = deque()
        self._last: dict[str, tuple[float, str]] = {}
        self._kept: deque[Failure] = deque(maxlen=_MOST_KEPT)

    def take(self, event: Mapping[str, Any], at: float) -> None:
        """Note *event*, which came to the server *at* these Unix seconds."""
        if event.get("error") is not True:
            return
        failure = _failure(event, at)
        with self._lock:
            task = failure.task
            if task not in self._last and len(self._last) >= _MOST_TASKS:
                task = _OTHER
            self._last[task] = at, failure.exception
            step = int(at // _STEP)
            if not self._counts or self._counts[-1][0] < step:
                self._counts.append((step, Counter()))
            # One event may tell of several.
            count = number(event.get("count"))
            self._counts[-1][1][task] += int(min(max(1, count or 1), _MOST_AT_ONCE))
            self._kept.append(failure)

    def failing(self, now: float) -> list[Failing]:
        """The tasks that failed in the last minutes, most often first."""
        with self._lock:
            self._forget(now)
            total: Counter[str] = Counter()
            for _, counts in self._counts:
                total.update(counts)
            found = [(task, count, *self._last[task]) for task, count in total.items()]
        ordered = sorted(found, key=lambda one: (-one[1], -one[2], one[0]))
        return [
            Failing(task=task, count=count, exception=kind, ago=max(0.0, now - at))
            for task, count, at, kind in ordered
        ]

    def latest(self) -> Sequence[Failure]:
        """The last failures, newest first."""
        with self._lock:
            return list(reversed(self._kept))

    def _forget(self, now: float) -> None:
        first = (now - SECONDS) // _STEP
        while self._counts and self._counts[0][0] < first:
            self._counts.popleft()
        for task in [t for t, (at, _) in self._last.items() if at // _STEP < first]:
            del self._last[task]


def _failure(event: Mapping[str, Any], at: float) -> Failure:
    def text(key: str, longest: int = LONGEST) -> str:
        value = event.get(key)
        return str(value)[:longest] if isinstance(value, str | int) else ""

    kind, traceback = text("exception"), text("traceback", 20_000)
    host, pid = text("host"), text("pid")
    return Failure(
        at=at,
        # What fails without a task is the consumer.
        task=text("name") or text("task") or f"({text('status')})",
        id=text("id"),
        exception=kind or text("status"),
        message=_message(traceback, kind),
        worker=":".join(filter(None, (host, pid))),
        traceback=traceback,
    )


def _message(traceback: str, kind: str) -> str:
    """The first line of what the exception says."""
    _, found, said = traceback.rpartition(f"\n{kind}: ")
    return said.partition("\n")[0] if found and kind else ""
