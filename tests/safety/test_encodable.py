"""What the application's texts and numbers become on their way out of the process."""

import enum
import os
from decimal import Decimal
from fractions import Fraction

import pytest

from huey_otel._safety.encodable import LONGEST, name, number, text


class Size(enum.IntEnum):
    LARGE = 3


class Text(str):
    def __str__(self) -> str:
        raise RuntimeError


class Mute:
    def __str__(self) -> str:
        raise RuntimeError


class Unreadable:
    def __index__(self) -> int:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("plain\0\x1b\n", "plain\0\x1b\n", id="control characters"),
        pytest.param("Grüße 🎉", "Grüße 🎉", id="not ascii"),
        pytest.param("party \ud83c", "party \\ud83c", id="half of a character"),
        pytest.param("ü\udc80🎉", "ü\\udc80🎉", id="among others"),
        pytest.param(os.fsdecode(b"caf\xe9"), "caf\\udce9", id="bytes of a path"),
    ],
)
def test_a_text_can_be_written_in_utf_8(value, said):
    assert text(value) == said
    assert text(value).encode().decode() == said


def test_a_text_that_can_be_written_is_left_as_it_is():
    value = "Grüße" * 10

    assert text(value) is value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("id", "id", id="a text"),
        pytest.param(7, "7", id="a number"),
        pytest.param(None, "None", id="none"),
        pytest.param(Text("own"), "own", id="a kind of text"),
        pytest.param(Mute(), "<Mute>", id="what raises"),
        pytest.param("\ud83c", "\\ud83c", id="half of a character"),
        pytest.param("x" * LONGEST, "x" * LONGEST, id="the longest"),
        pytest.param("x" * 10**6, "x" * (LONGEST - 3) + "...", id="a long one"),
        pytest.param("ü" * 10**6, "ü" * (LONGEST - 3) + "...", id="not ascii"),
    ],
)
def test_a_name_is_a_bounded_text_whatever_it_is_made_of(value, said):
    assert name(value) == said
    assert type(name(value)) is str


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, 0),
        (-3, -3),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (-(2**70), None),
        (10**5_000, None),
        (0.5, 0.5),
        (1e300, 1e300),
        (float("nan"), None),
        (float("-inf"), None),
        (True, 1),
        (Size.LARGE, 3),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Fraction(1, 4), 0.25),
        (None, None),
        ("3", None),
        ([1], None),
        (Unreadable(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_number_is_one_of_64_bits_or_none(value, said):
    found = number(value)

    assert (found, type(found)) == (said, type(said) if said is not True else int)
