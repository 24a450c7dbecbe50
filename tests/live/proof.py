"""What a run of the app `proof` leaves: the ledger, reports, events and spans."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.otlp_receiver import Span
from tests.live.scraping import samples


@dataclass(frozen=True)
class Line:
    """One line that a task wrote itself."""

    word: str
    task_id: str
    worker: str
    span_id: str

    @property
    def run(self) -> str:
        return self.worker.split("-")[0]

    @property
    def pid(self) -> int:
        return int(self.worker.split("-")[1])


class Evidence:
    """The ledger of the tasks, and the reports that consumers leave at their end."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._ledger = directory / "ledger"
        self._reports = directory
        self.environ = {
            "LIVE_LEDGER": str(self._ledger),
            "LIVE_REPORTS": str(self._reports),
        }

    def lines(self, word: str, *runs: str) -> list[Line]:
        """The lines with *word*, of *runs* or of all, in their order."""
        if not self._ledger.exists():
            return []
        # The last line may not be complete yet.
        whole, _, _ = self._ledger.read_text().rpartition("\n")
        lines = [Line(*line.split()) for line in whole.splitlines()]
        return [
            line
            for line in lines
            if line.word == word and (not runs or line.run in runs)
        ]

    def ids(self, word: str) -> Counter[str]:
        return Counter(line.task_id for line in self.lines(word))

    def reports(self, run: str) -> list[dict[str, Any]]:
        paths = sorted(self._reports.glob(f"{run}-*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def counted(self, name: str, label: str, *runs: str) -> Counter[str]:
        """The samples *name* of all reports of *runs*, summed by *label*."""
        total: Counter[str] = Counter()
        for run in runs:
            for report in self.reports(run):
                for (found, labels), value in samples(report["page"]).items():
                    if found == name and value:
                        total[dict(labels)[label]] += int(value)
        return total

    def losses(self, *runs: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for run in runs:
            for report in self.reports(run):
                total.update(report["losses"])
        return +total


def missing_tail(lines: list[Line], arrived: set[str]) -> int | None:
    """How many of *lines* are not among *arrived*, None if one before another is.

    A worker that dies may lose the telemetry of its last runs, and of none before.
    """
    missing: dict[str, int] = {}
    for line in lines:
        if line.task_id not in arrived:
            missing[line.worker] = missing.get(line.worker, 0) + 1
        elif line.worker in missing:
            return None
    return sum(missing.values())


def of_kind(spans: list[Span], kind: str) -> dict[str, Span]:
    """Spans of *kind* by the task they are about; more than one of a task is wrong."""
    found = [span for span in spans if span.kind == kind]
    by_task = {str(span.attributes["messaging.message.id"]): span for span in found}
    assert len(by_task) == len(found), [
        span for span in found if span not in by_task.values()
    ]
    return by_task
