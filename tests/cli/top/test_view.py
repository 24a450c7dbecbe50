"""The view of `huey-otel top`: what each key changes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from huey_otel.cli.top.snapshot import Failure
from huey_otel.cli.top.view import Shown, View


def failure(number: int) -> Failure:
    return Failure(
        at=number,
        task="app.mail",
        id=str(number),
        exception="ValueError",
        message="",
        worker="web-1:7",
        traceback="",
    )


TEN = [failure(number) for number in range(10, 0, -1)]
NEWER = [failure(number) for number in range(14, 4, -1)]
"""Four more have come, and four are gone."""


def after(
    view: View, *keys: str, failures: Sequence[Failure] = TEN, most: int = 100
) -> View:
    for key in keys:
        view = view.after(key, failures=failures, most=most)
    return view


def test_q_goes_back_and_ends_where_it_cannot():
    assert after(View(), "q").ended
    assert after(View(), "e", "q") == View()
    assert after(View(), "e", "t", "q").shown is Shown.ERRORS
    assert after(View(), "e", "t", "q", "q").shown is Shown.OVERVIEW
    assert after(View(), "t", "q") == View()


def test_escape_goes_back_takes_the_filter_away_and_never_ends():
    assert after(View(), "e", "\x1b") == View()
    assert after(View(filter="mail"), "\x1b") == View()
    assert after(View(), "\x1b") == View()


def test_e_shows_the_errors_and_hides_them():
    assert after(View(), "e").shown is Shown.ERRORS
    assert after(View(), "e", "e") == View()


def test_filter_is_typed_until_enter():
    typing = after(View(), "/", "m", "a", "q")

    assert typing == View(typing=True, filter="maq")
    assert after(typing, "\x7f", "i", "\r") == View(filter="mai")
    assert after(typing, "\x1b") == View()
    assert after(typing, "\x1b[A", "\x00", "\x1b[3~", "\x1bq") == typing
    assert len(after(typing, *"x" * 500).filter) == 100


@pytest.mark.parametrize("down", ["j", "\x1b[B", "\x1bOB"])
@pytest.mark.parametrize("up", ["k", "\x1b[A", "\x1bOA"])
def test_failures_are_chosen_up_and_down_and_not_past_the_ends(down, up):
    errors = View(shown=Shown.ERRORS)

    assert after(errors, down, down, up) == replace(errors, chosen=TEN[1])
    assert after(errors, up) == errors
    assert after(errors, down, up) == errors
    assert after(errors, *[down] * 20) == replace(errors, chosen=TEN[9])
    assert after(errors, down, failures=[]) == errors


def test_page_keys_move_by_ten():
    errors = View(shown=Shown.ERRORS)

    assert after(errors, "\x1b[6~").chosen == TEN[9]
    assert after(errors, "\x1b[6~", "\x1b[5~") == errors
    assert after(View(), "t", "\x1b[6~", "\x1b[6~", "\x1b[5~").scrolled == 10


def test_chosen_failure_stays_chosen_while_others_come_and_the_newest_newest():
    chosen = after(View(shown=Shown.ERRORS), "j")

    assert (chosen.place(TEN), chosen.place(NEWER)) == (1, 5)
    assert after(chosen, "k", failures=NEWER).chosen == NEWER[4]
    assert View(shown=Shown.ERRORS).place(NEWER) == 0
    assert after(View(shown=Shown.ERRORS), *["j"] * 9).place(NEWER) == 9


def test_traceback_that_is_read_stays_until_it_is_left():
    read = after(View(), "t")

    assert read.chosen == TEN[0]
    assert after(read, "j", failures=NEWER).chosen == TEN[0]
    assert after(read, "q", "t", failures=NEWER).chosen == NEWER[0]
    assert after(View(), "t", failures=[]).chosen is None


def test_traceback_is_scrolled_and_begins_at_its_head():
    shown = after(View(), "t", "j", "j")

    assert shown == View(shown=Shown.TRACEBACK, scrolled=2, chosen=TEN[0])
    assert after(shown, "k", "k", "k").scrolled == 0
    assert after(shown, "q", "t").scrolled == 0
    assert after(shown, "t") == shown


def test_traceback_is_not_scrolled_past_its_end():
    assert after(View(), "t", *"jjjjj", "k", most=3).scrolled == 2
    assert after(View(), "t", *"jjj", most=0).scrolled == 0


def test_tab_shows_the_next_queue_and_after_the_last_the_first():
    assert after(View(queues=3, chosen=TEN[4]), "\t") == View(queue=1, queues=3)
    assert after(View(queues=3, queue=2), "\t") == View(queues=3)
    assert after(View(), "\t") == View()


def test_other_keys_change_nothing():
    others = ("x", "\x00", "", "\x1b[C", "é", "\x1bq", "\x1b[15~", "j", "k")
    assert after(View(), *others) == View()
