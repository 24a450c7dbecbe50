"""Losses: counted each, logged once a streak."""

import logging
import threading

import huey.exceptions
import pytest

from huey_otel import _names as n
from huey_otel._safety.losses import REASONS, Losses


@pytest.fixture
def counted():
    return Losses()


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_streak_is_logged_once_and_counted_fully(counted, caplog):
    counted.count("relay", why="the reader is behind")
    counted.count("relay", 4, why="the reader is behind")

    assert counted.counts() == {"relay": 5}
    assert messages(caplog) == ["the reader is behind (counted as relay)"]
    assert caplog.records[0].name == "huey.otel"
    assert caplog.records[0].levelno == logging.WARNING


def test_a_streak_that_has_ended_is_logged_again(counted, caplog):
    counted.count("relay", why="first")
    counted.recovered("relay")
    counted.count("relay", why="second")

    assert counted.counts() == {"relay": 2}
    assert messages(caplog) == [
        "first (counted as relay)",
        "second (counted as relay)",
    ]


def test_the_end_of_a_streak_is_logged(counted, caplog):
    counted.recovered("feed", message="Redis is back")
    counted.count("feed", why="Redis is away")
    counted.recovered("feed", message="Redis is back")
    counted.recovered("feed", message="Redis is back")

    assert messages(caplog) == ["Redis is away (counted as feed)", "Redis is back"]


def test_streaks_of_one_reason_are_told_apart(counted, caplog):
    counted.count("internal", streak="a", why="in a")
    counted.count("internal", streak="b", why="in b")
    counted.count("internal", streak="a", why="in a")

    assert counted.counts() == {"internal": 3}
    assert messages(caplog) == [
        "in a (counted as internal)",
        "in b (counted as internal)",
    ]


def test_losses_of_a_queue_are_told_from_those_of_others(counted):
    counted.count("feed_full", 3, why="w", queue="shop")
    counted.count("feed_full", 4, why="w", queue="mail")
    counted.count("relay", 5, why="w")

    assert counted.by_queue() == {
        ("shop", "feed_full"): 3,
        ("mail", "feed_full"): 4,
        ("", "relay"): 5,
    }
    assert counted.counts() == {"feed_full": 7, "relay": 5}
    assert counted.counts("shop") == {"feed_full": 3, "relay": 5}


def test_each_reason_says_of_which_signal_it_is():
    reasons = {value for name, value in vars(n).items() if name.startswith("LOSS_")}
    signals = {value for name, value in vars(n).items() if name.startswith("SIGNAL_")}

    assert set(REASONS) == reasons
    assert {loss.signal for loss in REASONS.values()} <= signals
    assert {REASONS[reason].signal for reason in n.LOSSES_OF_SPANS} == {"span"}


def test_the_exception_is_logged_on_demand(counted, caplog):
    try:
        raise ValueError("no")
    except ValueError:
        counted.count("internal", why="with", error=True)
        counted.count("other", why="without")

    with_error, without = caplog.records
    assert with_error.exc_info[0] is ValueError
    assert not without.exc_info


def test_losses_are_taken_once(counted):
    counted.count("relay", 3, why="w")
    before = counted.pending

    taken = counted.take()

    assert before is True
    assert taken == {("", "relay"): 3}
    assert counted.pending is False
    assert counted.take() == {}


def test_losses_of_a_child_are_added_without_a_log_line(counted, caplog):
    counted.add("shop", "relay", 7)

    assert counted.by_queue() == {("shop", "relay"): 7}
    assert counted.pending is False
    assert messages(caplog) == []


def test_a_reader_of_the_counts_cannot_change_them(counted):
    counted.count("relay", why="w")

    counted.counts()["relay"] = 9

    assert counted.counts() == {"relay": 1}


def test_trouble_without_a_loss_is_logged_and_not_counted(counted, caplog):
    counted.count("feed", 0, why="Redis is away")

    assert counted.counts() == {}
    assert counted.pending is False
    assert messages(caplog) == ["Redis is away (nothing is lost so far)"]


def test_the_first_loss_of_a_streak_that_had_none_is_logged(counted, caplog):
    for number in (0, 0, 3, 2, 0):
        counted.count("feed", number, why="Redis is away")
    counted.recovered("feed")
    counted.count("feed", 0, why="Redis is away")

    assert counted.counts() == {"feed": 5}
    assert messages(caplog) == [
        "Redis is away (nothing is lost so far)",
        "Redis is away (counted as feed)",
        "Redis is away (nothing is lost so far)",
    ]


@pytest.fixture
def handle():
    """Makes a function the handler of our log."""
    logger = logging.getLogger("huey.otel")
    handlers = []

    def add(function):
        handlers.append(logging.Handler())
        handlers[-1].emit = function
        logger.addHandler(handlers[-1])

    yield add
    for handler in handlers:
        logger.removeHandler(handler)


SAY = {
    "a count": lambda counted: counted.count("relay", why="w"),
    "a streak": lambda counted: counted.count_streak("relay", streak="s", why="w"),
    "its end": lambda counted: counted.recovered("on", message="again"),
}


@pytest.mark.parametrize("say", SAY.values(), ids=SAY)
def test_the_exception_of_a_handler_is_counted_and_not_raised(counted, handle, say):
    counted.count("on", 0, why="w")

    def strict(entry):
        raise RuntimeError(entry.getMessage())

    handle(strict)

    say(counted)

    assert counted.counts()["internal"] == 1


@pytest.mark.skipif(
    not hasattr(huey.exceptions, "TaskTimeout"), reason="huey 2 has no timeouts"
)
def test_a_timeout_of_the_task_in_a_handler_passes(counted, handle):
    def interrupted(_entry):
        raise huey.exceptions.TaskTimeout

    handle(interrupted)

    with pytest.raises(huey.exceptions.TaskTimeout):
        counted.count("relay", why="w")
    assert counted.counts() == {"relay": 1}


@pytest.mark.parametrize("say", SAY.values(), ids=SAY)
def test_a_handler_may_wait_for_a_thread_that_loses_something(counted, handle, say):
    counted.count("on", why="w")
    alive = []

    def waits(_entry):
        thread = threading.Thread(
            target=counted.count, args=("on",), kwargs={"why": "w"}, daemon=True
        )
        counted._streaks.add("on")
        thread.start()
        thread.join(2)
        alive.append(thread.is_alive())

    handle(waits)

    say(counted)

    assert alive == [False]
