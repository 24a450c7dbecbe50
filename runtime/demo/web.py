"""The web process of a demo: it puts the load on the queue, a request for each case."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.load.cases import Case
from runtime.load.mix import mix
from runtime.load.run import enqueue
from runtime.shop import web

ABOUT_ORDERS = frozenset(
    ("charge_card", "await_transfer", "call_courier", "pack_order")
)


def serve(tasks: int, seed: int, wait: float, ledger: Path) -> None:
    """Enqueue *tasks* of the mix *seed*, traced as the shop's own requests are."""
    web.send_spans()
    enqueue(requests(mix(tasks, seed)), wait=wait).write(ledger)


def requests(cases: Iterable[Case]) -> Iterator[Case]:
    """Hand out *cases*, each while a request of the shop's page is the current one."""
    for case in cases:
        path = "/order" if case.task.name in ABOUT_ORDERS else "/office"
        with web.app.test_request_context(path, method="POST"):
            web.app.preprocess_request()
            yield case


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
