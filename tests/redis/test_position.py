"""Where a listener may begin in a stream, and what is refused."""

import pytest

from huey_otel import EventListener
from huey_otel._redis.position import ACCEPTED, Ago, Position, since_of

NOWHERE = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, None),
        ("beginning", Position((0, 0))),
        ("1795346713638-2", Position((1795346713638, 2))),
        ("1795346713638-2/314", Position((1795346713638, 2), 314)),
        ("0-0/0", Position((0, 0), 0)),
        (f"{2**64 - 1}-0", Position((2**64 - 1, 0))),
        ("0s", Ago(0)),
        ("90s", Ago(90)),
        (" 10m ", Ago(600)),
        ("3h", Ago(10_800)),
        ("2d", Ago(172_800)),
    ],
)
def test_a_text_means_a_position_or_a_time(given, meant):
    assert since_of(given) == meant


@pytest.mark.parametrize(
    "given",
    [
        *("", "now", "$", "yesterday", "600", "10", "10 m", "10min", "1.5h", "-10m"),
        *("10w", "9999d", "1-2-3", "1-2/", "1-2/x", "/3", "-1-0", "+1-0"),
        *(f"{2**64}-0", f"1-{2**64}", f"1-1/{2**64}", "²-0", "1-0\n2"),
    ],
)
def test_nonsense_is_refused_and_what_is_accepted_is_said(given):
    with pytest.raises(ValueError, match="since=") as refusal:
        EventListener(NOWHERE, "q", stream=True, since=given)

    assert str(refusal.value) == f"since={given!r}: expected {ACCEPTED}"


@pytest.mark.parametrize("given", [600, 1.5, b"10m", True])
def test_what_is_no_text_is_refused(given):
    with pytest.raises(TypeError, match="since=") as refusal:
        EventListener(NOWHERE, "q", stream=True, since=given)

    shown = "<bytes>" if isinstance(given, bytes) else repr(given)
    assert str(refusal.value) == f"since={shown}: expected {ACCEPTED}"


@pytest.mark.parametrize("text", ["1795346713638-2", "1795346713638-2/314", "0-0/0"])
def test_a_position_is_spelled_as_it_is_read(text):
    assert str(since_of(text)) == text


def test_without_a_stream_there_is_nothing_earlier():
    with pytest.raises(ValueError, match="since=") as refusal:
        EventListener(NOWHERE, "q", since="10m")

    assert str(refusal.value) == (
        "since='10m': expected stream=True as well, or since=None;"
        " without a stream Redis keeps no events"
    )


@pytest.mark.parametrize(
    ("stream", "error"), [("", ValueError), ("\ud800", ValueError), (7, TypeError)]
)
def test_a_stream_that_is_no_key_is_refused(stream, error):
    with pytest.raises(error, match="expected True, the key of a stream, or None"):
        EventListener(NOWHERE, "q", stream=stream)
