"""The waker: a thread sleeps until it is roused."""

import os
import signal
import threading
import time

import pytest

from huey_otel._safety.wakeups import Waker
from tests.support.forks import open_descriptors

pytestmark = pytest.mark.once


@pytest.fixture
def waker():
    made = Waker()
    yield made
    made.close()


def test_a_wait_ends_after_its_time(waker):
    began = time.monotonic()

    waker.wait(0.05)

    assert time.monotonic() - began > 0.04


def test_a_poke_ends_a_wait(waker):
    thread = threading.Thread(target=waker.wait, args=(None,))
    thread.start()

    waker.poke()
    thread.join(5)

    assert not thread.is_alive()


def test_a_signal_ends_a_wait_whichever_thread_it_is_given_to(waker):
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    waker.be_poked_by_signals()
    try:
        thread = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        )
        thread.start()

        waker.wait(None)
        thread.join()
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)


def test_a_poke_before_the_wait_ends_it(waker):
    waker.poke()

    waker.wait(None)


def test_pokes_are_used_up_by_one_wait(waker):
    for _ in range(100_000):
        waker.poke()
    waker.wait(None)
    began = time.monotonic()

    waker.wait(0.05)

    assert time.monotonic() - began > 0.04


def test_something_else_ends_a_wait(waker):
    reading, writing = os.pipe()
    thread = threading.Thread(target=waker.wait, args=(None, [reading]))
    thread.start()

    os.write(writing, b"x")
    thread.join(5)

    assert not thread.is_alive()
    os.close(reading)
    os.close(writing)


def test_a_closed_waker_has_no_descriptor():
    before = open_descriptors()
    waker = Waker()

    waker.close()

    assert open_descriptors() == before


@pytest.mark.parametrize("use", [Waker.poke, lambda waker: waker.wait(None)])
def test_a_waker_that_other_code_has_closed_raises_and_touches_no_other_file(use):
    waker = Waker()
    ends = waker._ends
    os.closerange(min(ends), max(ends) + 1)
    others = os.pipe()
    for other, end in zip(others, ends, strict=True):
        if other != end:
            os.dup2(other, end)
    os.set_blocking(ends[0], False)

    with pytest.raises(OSError, match="closed by other code"):
        use(waker)
    broken = waker.broken
    waker.close()

    assert broken is True
    with pytest.raises(BlockingIOError):
        os.read(ends[0], 1)
    for end in {*others, *ends}:
        os.close(end)


def test_a_wait_for_a_closed_descriptor_is_refused(waker):
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)

    with pytest.raises(OSError, match="is closed"):
        waker.wait(None, [reading])
