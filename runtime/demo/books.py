"""The books: what the counters on the metrics page must say after all loads."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from huey_otel import events as e
from runtime.demo.page import COUNTED, FAILED, FINISHED, RETRIED, STARTED, Page
from runtime.load.ledger import Expected

COLUMNS = {
    e.EVENT_STARTED: STARTED,
    e.EVENT_FINISHED: FINISHED,
    e.EVENT_ERROR_TASK: FAILED,
    e.EVENT_TIMEOUT: FAILED,
    e.EVENT_RETRYING: RETRIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A task of which the page counts otherwise than the ledgers do."""

    task: str
    expected: Counter[str]
    seen: Counter[str]

    def __str__(self) -> str:
        columns = [each for each in COUNTED if self.expected[each] != self.seen[each]]
        counts = (
            f"{self.expected[each]} {each}, {self.seen[each]}" for each in columns
        )
        return f"{self.task}: " + "; ".join(f"expected {each} seen" for each in counts)


class Books:
    """Adds up ledgers, as a counter adds up what becomes of them."""

    def __init__(self) -> None:
        self._once: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._repeated: dict[str, Counter[str]] = {}

    def add(self, expected: Iterable[Expected]) -> None:
        """Expect all this as well."""
        for each in expected:
            if each.task is None:
                continue
            columns = (COLUMNS[one] for one in each.statuses if one in COLUMNS)
            if each.repeats:
                self._repeated[each.task] = Counter(columns)
            else:
                self._once[each.task].update(columns)

    def mismatches(self, page: Page) -> list[Mismatch]:
        """Compare with *page*; nothing returned means nothing differs."""
        seen = {task: figures.counts for task, figures in page.tasks.items()}
        pairs = (
            Mismatch(
                task=task,
                expected=self._expected(task, seen.get(task, Counter())),
                seen=seen.get(task, Counter()),
            )
            for task in sorted(seen.keys() | self._once.keys())
        )
        return [pair for pair in pairs if pair.expected != pair.seen]

    def _expected(self, task: str, seen: Counter[str]) -> Counter[str]:
        """What repeats may have come any number of times, each time as a whole."""
        expected = Counter(self._once.get(task, Counter()))
        repeated = self._repeated.get(task)
        if repeated is not None:
            for _ in range(seen[STARTED] - expected[STARTED]):
                expected += repeated
        return expected
