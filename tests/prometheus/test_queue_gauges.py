import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huey import MemoryHuey, PriorityRedisHuey, RedisHuey, SqliteHuey
from huey.api import Huey
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel._prometheus.claims import register
from huey_otel._prometheus.queue_gauges import QueueGauges
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import Losses
from huey_otel._storage.contents import Meaning
from tests.support.forks import fork, said_in_child
from tests.support.metrics import page
from tests.support.redis_server import serving
from tests.support.waiting import wait_until

FIVE_AND_TWO = {
    'huey_queue_length{queue="shop"}': 5,
    'huey_schedule_length{queue="shop"}': 2,
}
LENGTHS = (n.QUEUE_LENGTH, n.SCHEDULE_LENGTH)
UP = {**FIVE_AND_TWO, 'huey_storage_up{queue="shop"}': 1}
AWAY = {'huey_storage_up{queue="shop"}': 0}


@pytest.fixture
def queues() -> Iterator[QueueGauges]:
    made = QueueGauges()
    before = threads()
    yield made
    for number in list(made._pollers):
        made.remove(number)
    # A late log line of a thread would fail another test.
    wait_until(lambda: threads() <= before)


@pytest.fixture
def registry(queues: QueueGauges) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(queues)
    return made


redis_server = pytest.fixture(scope="module")(serving)


def memory(tmp_path: Path, request: pytest.FixtureRequest) -> Huey:
    return MemoryHuey("shop")


def sqlite(tmp_path: Path, request: pytest.FixtureRequest) -> Huey:
    return SqliteHuey("shop", filename=str(tmp_path / "huey.db"))


def redis_list(tmp_path: Path, request: pytest.FixtureRequest) -> Huey:
    return RedisHuey("shop", url=request.getfixturevalue("redis_server").url)


def redis_sorted_set(tmp_path: Path, request: pytest.FixtureRequest) -> Huey:
    url = request.getfixturevalue("redis_server").url
    return PriorityRedisHuey("shop-by-priority", url=url)


class Slow:
    """A storage that answers after `may_answer` is set, or raises `error`."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.error: BaseException | None = None
        self.asked = 0

    def queue_size(self) -> int:
        self.asked += 1
        self.may_answer.wait(30)
        if self.error is not None:
            raise self.error
        return 5

    def schedule_size(self) -> int:
        return 2


@pytest.fixture
def slow(queues: QueueGauges) -> Iterator[Slow]:
    storage = Slow()
    yield storage
    storage.may_answer.set()


def threads() -> int:
    return sum(one.name == "huey-otel-queues" for one in threading.enumerate())


@pytest.mark.parametrize("kind", [memory, sqlite, redis_list, redis_sorted_set])
def test_gauges_show_the_lengths_of_queue_and_schedule(
    queues, registry, tmp_path, request, kind: Callable[..., Huey]
):
    huey = kind(tmp_path, request)

    @huey.task()
    def add() -> None: ...

    for _ in range(5):
        huey.enqueue(add.s())
    for _ in range(2):
        huey.add_schedule(add.s())
    queues.add(1, "shop", lambda: huey.storage, Meaning())

    assert page(registry, *LENGTHS) == FIVE_AND_TWO
    huey.storage.flush_all()
    assert set(page(registry, *LENGTHS).values()) == {0}


def test_redis_is_asked_over_a_connection_of_its_own(queues, registry, redis_server):
    huey = RedisHuey("shop", url=redis_server.url)
    queues.add(1, "shop", lambda: huey.storage, Meaning())
    page(registry)

    def ours() -> int:
        clients = huey.storage.conn.client_list()
        return sum(client["name"] == n.REDIS_CLIENT_NAME for client in clients)

    wait_until(lambda: ours() == 1)
    queues.remove(1)
    wait_until(lambda: ours() == 0)


def test_lock_of_the_storage_is_not_taken(queues, registry, tmp_path, request):
    huey = sqlite(tmp_path, request)
    if not hasattr(huey.storage, "lock"):
        pytest.skip("huey 2 has a connection for each thread, and no lock")
    queues.add(1, "shop", lambda: huey.storage, Meaning())

    with huey.storage.lock:
        shown = page(registry)

    assert len(shown) == 4


def test_nothing_starts_before_a_scrape(queues, registry, slow):
    slow.may_answer.set()
    before = threads()
    queues.add(1, "shop", lambda: slow, Meaning())
    added = threads()
    page(registry)

    assert (added - before, threads() - before, slow.asked) == (0, 1, 1)


def test_gauges_of_a_queue_are_absent_while_its_storage_hangs_and_others_are_not(
    queues, registry, slow, losses: Losses
):
    quick = Slow()
    quick.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())
    queues.add(2, "other", lambda: quick, Meaning())

    began = time.monotonic()
    first = page(registry)
    waited = time.monotonic()
    later = [page(registry) for _ in range(5)]
    ended = time.monotonic()

    others = {
        'huey_queue_length{queue="other"}': 5,
        'huey_schedule_length{queue="other"}': 2,
        'huey_storage_up{queue="other"}': 1,
        **AWAY,
    }
    assert [first, *later] == [others] * 6
    assert waited - began < 5
    assert ended - waited < 4
    assert slow.asked == 1
    assert losses.counts() == {n.LOSS_GAUGES: 1}


def test_queue_is_back_once_its_storage_answers(queues, registry, slow, losses, caplog):
    queues.add(1, "shop", lambda: slow, Meaning())
    assert page(registry) == AWAY

    slow.may_answer.set()
    wait_until(lambda: page(registry) == UP)

    assert caplog.messages == [
        "the storage of 'shop' did not answer in time, its gauges are absent"
        " (counted as gauges)",
        "the storage of 'shop' answers again",
    ]


def test_storage_that_raises_is_one_error_per_streak(queues, registry, slow, losses):
    slow.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())
    slow.error = OSError("away")
    raised = [page(registry) for _ in range(3)]
    slow.error = None
    answered = page(registry)
    slow.error = OSError("away again")
    raised.append(page(registry))

    assert (raised, answered) == ([AWAY] * 4, UP)
    assert losses.by_queue() == {("shop", n.LOSS_GAUGES): 2}


class FatalError(BaseException):
    """Like gevent's Timeout, it is no Exception."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_queue_is_back_after_its_storage_has_ended_the_thread(queues, registry, slow):
    slow.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())
    slow.error = FatalError()
    raised = page(registry)
    slow.error = None

    wait_until(lambda: threads() == 0)
    assert (raised, page(registry)) == (AWAY, UP)


def test_hanging_redis_delays_one_scrape_and_is_asked_again(
    queues, registry, redis_server, losses
):
    huey = RedisHuey("shop", url=redis_server.url)
    queues.add(1, "shop", lambda: huey.storage, Meaning())
    assert len(page(registry, *LENGTHS)) == 2

    redis_server.pause()
    try:
        assert page(registry) == AWAY
    finally:
        redis_server.resume()
    wait_until(lambda: len(page(registry, *LENGTHS)) == 2)

    assert losses.counts() == {n.LOSS_GAUGES: 1}


def test_exchanged_storage_is_asked(queues, registry):
    huey = MemoryHuey("shop")
    queues.add(1, "shop", lambda: huey.storage, Meaning())
    huey.storage.enqueue(b"one")
    before = page(registry, n.QUEUE_LENGTH)
    huey.immediate = True
    huey.storage.enqueue(b"one")
    huey.storage.enqueue(b"two")

    assert before == {'huey_queue_length{queue="shop"}': 1}
    assert page(registry, n.QUEUE_LENGTH) == {'huey_queue_length{queue="shop"}': 2}


def test_two_hueys_of_one_name_have_one_gauge(queues, registry, slow):
    slow.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())
    queues.add(2, "shop", lambda: slow, Meaning())

    assert page(registry) == UP


def test_queue_that_is_removed_is_gone_with_its_thread(queues, registry, slow):
    slow.may_answer.set()
    before = threads()
    queues.add(1, "shop", lambda: slow, Meaning())
    page(registry)
    queues.remove(1)

    assert page(registry) == {}
    wait_until(lambda: threads() == before)


def test_scrape_uses_the_answers_that_were_asked_for_before_it(queues, registry, slow):
    slow.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())

    queues.ask()
    prepared = page(registry)
    asked = slow.asked
    page(registry)

    assert (prepared, asked, slow.asked) == (UP, 1, 2)


def test_fork_need_not_wait_for_a_storage_that_hangs(
    queues, registry, slow, monkeypatch
):
    monkeypatch.setattr("huey_otel._safety.forks._PATIENCE", 600.0)
    monkeypatch.setattr("huey_otel._prometheus.queue_gauges._LONGEST_WAIT", 600.0)
    queues.add(1, "shop", lambda: slow, Meaning())
    scrape = threading.Thread(target=page, args=(registry,))
    scrape.start()
    wait_until(lambda: slow.asked == 1)

    code = fork(lambda: None).join()
    waiting = scrape.is_alive()
    slow.may_answer.set()
    scrape.join()

    assert (code, waiting) == (0, True)


def test_forked_child_asks_the_storage_itself(queues, registry, slow):
    slow.may_answer.set()
    queues.add(1, "shop", lambda: slow, Meaning())
    page(registry)

    assert said_in_child(lambda: page(registry)) == UP
    assert page(registry) == UP


def test_help_says_how_to_aggregate(queues):
    helps = {metric.name: metric.documentation for metric in queues.collect()}
    # What one consumer sees, and another may not.
    del helps[n.STORAGE_UP]

    assert set(helps) == {
        *LENGTHS,
        *(n.QUEUE_OLDEST_AGE, n.SCHEDULE_OVERDUE_AGE, n.RESULTS),
    }
    assert all("aggregate with max, never sum" in text for text in helps.values())


def test_registering_asks_no_storage(queues, slow):
    queues.add(1, "shop", lambda: slow, Meaning())
    register(queues, CollectorRegistry(auto_describe=True))

    assert slow.asked == 0
    assert EXCLUSION.take(0.1)
    EXCLUSION.release()
