"""The dashboards' queries on a real Prometheus, compared with the load's ledger."""

import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pytest

from huey_otel import events as e
from runtime.demo.metrics import quantile
from runtime.load.ledger import Ledger
from tests.live.scraping import Prometheus, Values
from tests.support.dashboards import Query

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
CHOSEN = {"queue": "shop", "task": f"{TASKS}charge_card"}
"""The variables of the dashboards."""


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

    *shape* says whose page Prometheus reads.
    """

    shape: str
    prometheus: Prometheus
    at: float
    seconds: float

    def text(self, query: Query) -> str:
        """The query with its variables filled in."""
        # 10 ms more include the first scrape, and not the one before.
        return query.text(seconds=self.seconds + 0.01, **CHOSEN)

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
        rates = re.search(r"\brate\(|/ \(\d+ / 1000\)", query)
        factor = self.seconds if rates else 1
        found: Counter[tuple[str, ...]] = Counter()
        for key, number in self(query, *labels).items():
            whole = number * factor
            assert whole == pytest.approx(round(whole), abs=0.2), (query, key)
            found[key] = round(whole)
        return found

    def agrees(self, query: Query, *labels: str, ledger: Mapping[str, int]) -> None:
        """Compare a query of counts by one label, or none, with *ledger*."""
        text = self.text(query)
        seen = {" ".join(key): each for key, each in self.counts(text, *labels).items()}
        expected = {key: number for key, number in ledger.items() if number}
        self.report(query, text, seen, expected)
        assert seen == expected, query

    def quantiles(
        self,
        query: Query,
        bounds: tuple[float, ...],
        ledger: Mapping[str, int],
        of: Collection[str],
    ) -> Values:
        """Compare what a query of p95s observes with *ledger*; give the p95s.

        It shows those *of* these tasks.
        """
        text = self.text(query)
        found = re.search(r"histogram_quantile\(0.95, (.*?)\)\)\)", text)
        assert found is not None
        buckets = self._increases(f"{found[1]}))")
        p95s = self(text, "task")
        shown = {task for (task,) in p95s}
        seen = {key: n for key, n in buckets.items() if key[0] in shown}
        observed = {task: n for (task, le), n in seen.items() if le == "+Inf"}
        self.report(
            query,
            text,
            {task: f"p95 {p95s[task,]:.3g} s of {n}" for task, n in observed.items()},
            {key: f"of {number}" for key, number in ledger.items() if key in shown},
        )
        assert shown == set(of)
        assert observed == {key: ledger[key] for key in shown}
        for (task,), seconds in p95s.items():
            of_task = dict.fromkeys(bounds, 0.0) | {
                float(le): float(number)
                for (one, le), number in seen.items()
                if one == task
            }
            assert seconds == pytest.approx(quantile(0.95, of_task), rel=0.05)
        return p95s

    def _increases(self, buckets: str) -> Counter[tuple[str, ...]]:
        return self.counts(buckets, "task", "le")

    def report(
        self,
        query: Query,
        text: str,
        seen: Mapping[str, object],
        expected: Mapping[str, object],
    ) -> None:
        """Print the comparison, for `make panels`."""
        sys.stdout.write(f"\n{self.shape}, {' '.join(query)}\n  {text}\n")
        for key in sorted({*seen, *expected}):
            left, right = seen.get(key, "nothing"), expected.get(key, "nothing")
            sys.stdout.write(f"    {key or '(all)':32} {left!s:20} ledger {right}\n")
