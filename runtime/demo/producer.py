"""The process that enqueues the demo's load: one web request of the shop per case."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.load.cases import Case
from runtime.load.mix import mix
from runtime.load.run import enqueue
from runtime.shop import web

ORDER_TASKS = frozenset(("charge_card", "await_transfer", "call_courier", "pack_order"))


def produce(tasks: int, seed: int, wait: float, ledger: Path) -> None:
    """Enqueue *tasks* cases of the mix *seed*, and write their *ledger*."""
    web.send_spans()
    enqueue(requests(mix(tasks, seed)), wait=wait).write(ledger)


def requests(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield each of *cases* inside a request to the shop, so its trace begins there."""
    for case in cases:
        path = "/order" if case.task.name in ORDER_TASKS else "/office"
        with web.app.test_request_context(path, method="POST"):
            web.app.preprocess_request()
            yield case


if __name__ == "__main__":
    produce(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
