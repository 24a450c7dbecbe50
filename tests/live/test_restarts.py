"""Workers forked during a scrape inherit no taken lock."""

import threading
from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest
from huey.consumer_options import ConsumerConfig

from huey_otel import _names as n
from tests.live.processes import Consumer
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import metrics, serves, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until


@pytest.mark.timeout(400)
@pytest.mark.proof_but("40")
@pytest.mark.parametrize("restarts", [40, 500])
def test_workers_forked_during_scrapes_do_not_hang(
    restarts: int,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    record_property: Callable[[str, object], None],
) -> None:
    if not hasattr(ConsumerConfig, "max_tasks"):
        pytest.skip("huey recycles from 3.0 on")
    port = free_port()
    app = application("own_collector")
    tasks = [app.take(number).id for number in range(restarts)]
    # Each task is the only one of its worker.
    running = consumer(
        *("process", "-n", "-w", "4", "-M", "1", "-c", "0.02"),
        application="own_collector",
        HUEY_OTEL_METRICS_PORT=str(port),
    )
    wait_until(lambda: serves(port))
    over = threading.Event()
    pages = [0] * 3

    def scrape(number: int) -> None:
        while not over.is_set():
            metrics(port)
            pages[number] += 1

    scrapers = [threading.Thread(target=scrape, args=(i,)) for i in range(len(pages))]
    for scraper in scrapers:
        scraper.start()
    try:
        wait_until(lambda: received.count("finished") == restarts, seconds=300)
        recycled = n.REASON_MAX_TASKS
        wait_until(lambda: reasons(port).get(recycled, 0) >= restarts)
    finally:
        over.set()
        for scraper in scrapers:
            scraper.join()
    counted = reasons(port)
    assert running.stop() == 0
    record_property("proof", {"restarts": int(counted[recycled]), "pages": sum(pages)})

    assert counted == {recycled: restarts}
    ends = Counter(e["id"] for e in received.catch_up() if e["status"] == "finished")
    assert ends == Counter(tasks)
    assert "held up a fork" not in running.log


def test_workers_forked_while_the_first_ones_report_do_not_hang(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
) -> None:
    app = application("slow_import")
    tasks = [app.add(number, 1).id for number in range(200)]
    running = consumer(
        *("process", "-n", "-w", "16"), application="slow_import", LIVE_SLOW="1"
    )
    wait_until(lambda: received.count("finished") == len(tasks))
    running.wait_until_started()

    # Huey waits for each of them, however long.
    assert running.stop() == 0


def reasons(port: int) -> dict[str, float]:
    """How often workers were replaced, by reason."""
    page = metrics(port)
    known = (n.REASON_DIED, n.REASON_MAX_TASKS)
    counts = {
        reason: value(page, n.WORKER_RESTARTS_TOTAL, reason=reason) for reason in known
    }
    return {reason: count for reason, count in counts.items() if count}
