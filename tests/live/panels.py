"""The dashboard's queries on a real Prometheus, compared with the load's ledger."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from huey_otel import events as e
from runtime.demo.metrics import quantile
from runtime.load.ledger import Ledger
from tests.live.scraping import Prometheus, Values
from tests.support.programs import ROOT

DASHBOARD = json.loads((ROOT / "grafana/dashboards/huey.json").read_text())
QUERIES = {
    (panel["title"], target["refId"]): target
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
FINAL = {
    e.EVENT_FINISHED: "success",
    e.EVENT_ERROR_TASK: "failure",
    e.EVENT_TIMEOUT: "timeout",
    e.EVENT_LOCKED: "locked",
    e.EVENT_REVOKED: "revoked",
    e.EVENT_EXPIRED: "expired",
    e.EVENT_CANCELED: "canceled",
    e.EVENT_RATE_LIMITED: "rate_limited",
}
TASKS, LIMITS = "runtime.shop.tasks.", "runtime.shop.limits."

Reported = set[tuple[str, str]]


class LedgerCounts:
    """The tasks in ledgers, counted as the panels count them."""

    def __init__(self, *ledgers: Ledger) -> None:
        self.rows = [each for ledger in ledgers for each in ledger.expected]
        self.ends = Counter(
            (each.task or "", FINAL[each.statuses[-1]])
            for each in self.rows
            if each.statuses and each.statuses[-1] in FINAL
        )

    def finished(self, *outcomes: str) -> int:
        return sum(
            number
            for (_, outcome), number in self.ends.items()
            if not outcomes or outcome in outcomes
        )

    def outcomes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, outcome), number in self.ends.items():
            found[outcome] += number
        return found

    def times(self, *statuses: str) -> Counter[str]:
        """How often each task has had one of *statuses*."""
        return Counter(
            each.task or ""
            for each in self.rows
            for status in each.statuses
            if status in statuses
        )

    def last(self, status: str | None) -> Counter[str]:
        """How many runs of each task have *status* as their last one."""
        return Counter(
            each.task or ""
            for each in self.rows
            if (each.statuses[-1] if each.statuses else None) == status
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Asks at the moment *at* for the *seconds* before, and prints the answers.

    *reported* takes what was compared.
    """

    prometheus: Prometheus
    at: float
    seconds: float
    reported: Reported

    def text(self, panel: str, ref: str = "A") -> str:
        """The query with its variables filled in."""
        # 10 ms more include the first scrape, and not the one before.
        window = f"{round(self.seconds * 1000) + 10}ms"
        text: str = QUERIES[panel, ref]["expr"]
        for variable in ("$__rate_interval", "$__range"):
            text = text.replace(variable, window)
        return text.replace("$queue", "shop")

    def __call__(self, query: str, *labels: str) -> Values:
        """The values by *labels*; of a task, its short name."""
        values = self.prometheus.values(query, *labels, at=self.at)
        return {
            tuple(
                label.removeprefix(TASKS).removeprefix(LIMITS) for label in key
            ): number
            for key, number in values.items()
        }

    def counts(self, query: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The whole numbers that a query counted; rates times their seconds."""
        factor = self.seconds if re.search(r"\brate\(", query) else 1
        found: Counter[tuple[str, ...]] = Counter()
        for key, number in self(query, *labels).items():
            whole = number * factor
            assert whole == pytest.approx(round(whole), abs=0.2), (query, key)
            found[key] = round(whole)
        return found

    def agrees(
        self, panel: str, *labels: str, ledger: Mapping[str, int], ref: str = "A"
    ) -> None:
        """Compare a panel of counts by one label, or none, with *ledger*."""
        query = self.text(panel, ref)
        seen = {
            " ".join(key): each for key, each in self.counts(query, *labels).items()
        }
        expected = {key: number for key, number in ledger.items() if number}
        self.report(panel, ref, query, seen, expected)
        assert seen == expected, (panel, ref)

    def quantiles(
        self, panel: str, bounds: tuple[float, ...], ledger: Mapping[str, int]
    ) -> Values:
        """Compare what a panel of p95s observes with *ledger*; give the p95s."""
        query = self.text(panel)
        buckets = re.sub(r"^histogram_quantile\(0.95, (.*)\)$", r"\1", query)
        seen = self.counts(buckets, "task", "le")
        observed = {task: n for (task, le), n in seen.items() if le == "+Inf"}
        p95s = self(query, "task")
        shown = {
            task: f"p95 {p95s[task,]:.3g} s of {number}"
            for task, number in observed.items()
        }
        expected = {key: f"of {number}" for key, number in ledger.items() if number}
        self.report(panel, "A", query, shown, expected)
        assert observed == dict(ledger), panel
        for (task,), seconds in p95s.items():
            of_task = dict.fromkeys(bounds, 0.0) | {
                float(le): float(number)
                for (one, le), number in seen.items()
                if one == task
            }
            assert seconds == pytest.approx(quantile(0.95, of_task), rel=0.05)
        return p95s

    def report(
        self,
        panel: str,
        ref: str,
        query: str,
        seen: Mapping[str, object],
        expected: Mapping[str, object],
    ) -> None:
        """Print the comparison, for `make panels`."""
        self.reported.add((panel, ref))
        sys.stdout.write(f"\n{panel} {ref}\n  {query}\n")
        for key in sorted({*seen, *expected}):
            left, right = seen.get(key, "nothing"), expected.get(key, "nothing")
            sys.stdout.write(f"    {key or '(all)':32} {left!s:20} ledger {right}\n")
