"""The view of `huey-otel top`: what each key changes."""

from dataclasses import replace

import pytest

from huey_otel.cli.top.view import Shown, View


def after(view: View, *keys: str, failures: int = 10) -> View:
    for key in keys:
        view = view.after(key, failures=failures)
    return view


def test_q_goes_back_and_ends_where_it_cannot():
    assert after(View(), "q").ended
    assert after(View(), "e", "q") == View()
    assert after(View(), "e", "t", "q") == View(shown=Shown.ERRORS, below=Shown.ERRORS)
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
    assert after(typing, "\x1b[A", "\x00") == typing
    assert len(after(typing, *"x" * 500).filter) == 100


@pytest.mark.parametrize("down", ["j", "\x1b[B", "\x1bOB"])
@pytest.mark.parametrize("up", ["k", "\x1b[A", "\x1bOA"])
def test_failures_are_chosen_up_and_down_and_not_past_the_ends(down, up):
    errors = View(shown=Shown.ERRORS)

    assert after(errors, down, down, up) == replace(errors, chosen=1)
    assert after(errors, up) == errors
    assert after(errors, *[down] * 20) == replace(errors, chosen=9)
    assert after(errors, down, failures=0) == errors


def test_traceback_is_scrolled_and_begins_at_its_head():
    shown = after(View(), "t", "j", "j")

    assert shown == View(shown=Shown.TRACEBACK, scrolled=2)
    assert after(shown, "k", "k", "k") == View(shown=Shown.TRACEBACK)
    assert after(shown, "q", "t") == View(shown=Shown.TRACEBACK)
    assert after(shown, "t") == shown


def test_tab_shows_the_next_queue_and_after_the_last_the_first():
    assert after(View(queues=3, chosen=4), "\t") == View(queue=1, queues=3)
    assert after(View(queues=3, queue=2), "\t") == View(queues=3)
    assert after(View(), "\t") == View()


def test_other_keys_change_nothing():
    assert after(View(), "x", "\x00", "", "\x1b[C", "é") == View()
