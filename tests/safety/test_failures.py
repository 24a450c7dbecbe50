"""Failures: what an event says of an exception, whatever the exception is like."""

import sys

import pytest

from huey_otel._safety import failures
from huey_otel._safety.failures import LARGEST, class_name, message, shortened, text


class OuterError(Exception):
    class InnerError(Exception):
        pass


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text either")

    __repr__ = __str__


def raised(error):
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - to have a traceback
        return caught


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (OuterError(), "tests.safety.test_failures.OuterError"),
        (OuterError.InnerError(), "tests.safety.test_failures.OuterError.InnerError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_class_is_named_as_it_is_imported(error, name):
    assert class_name(error) == name


def test_a_class_of_a_module_that_is_no_utf_8_can_be_written():
    kind = type("Error", (Exception,), {"__module__": "caf\udce9"})

    assert class_name(kind()) == "caf\\udce9.Error"


def test_a_traceback_is_that_of_python():
    error = raised(ValueError("no"))

    lines = text(error).splitlines()

    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no"


def test_an_exception_that_cannot_be_printed_has_a_traceback():
    assert text(raised(UnprintableError())).splitlines()[-1] == (
        "tests.safety.test_failures.UnprintableError: <exception str() failed>"
    )


def test_a_short_traceback_is_left_as_it_is():
    whole = "x" * LARGEST

    assert shortened(whole) == whole


@pytest.mark.parametrize(
    "character",
    ["x", "ж", "値", "🐍", "\udc80", "\n"],
    ids=["one byte", "two", "three", "four", "lone surrogate", "newline"],
)
@pytest.mark.parametrize("length", [LARGEST // 4 + 1, LARGEST + 1, 1_000_000])
def test_a_long_traceback_is_shortened_in_the_middle(character, length):
    whole = "begin" + character * length + "end"

    short = shortened(whole)

    size = len(short.encode("utf-8", "backslashreplace"))
    assert size <= LARGEST
    assert short.startswith("begin")
    assert short.endswith("end")
    if short != whole:
        assert " characters left out ..." in short
        assert size > LARGEST - 100


def test_the_mark_says_how_much_is_missing():
    whole = "x" * 100_000

    short = shortened(whole)

    kept = short.count("x")
    assert f"\n... {100_000 - kept} characters left out ...\n" in short


def test_a_huge_message_is_bounded():
    short = text(raised(ValueError("🐍" * 1_000_000)))

    assert len(short.encode()) <= LARGEST
    assert short.startswith("Traceback (most recent call last):")


def test_a_recursion_is_bounded():
    def again(depth):
        # Two lines in turn, which Python does not fold.
        if depth % 2:
            return again(depth + 1) + 1
        return 1 + again(depth + 1)

    try:
        again(0)
    except RecursionError as error:
        caught = error

    short = text(caught)

    assert len(short.encode()) <= LARGEST
    assert short.splitlines()[-1].startswith("RecursionError: ")


def test_a_chain_of_causes_is_bounded():
    error = ValueError("first")
    for number in range(2_000):
        try:
            raise ValueError(f"number {number}") from error
        except ValueError as next_one:
            error = next_one

    short = text(error)

    assert len(short.encode()) <= LARGEST


def test_a_deep_chain_of_causes_is_no_recursion_error():
    error = ValueError("first")
    for _ in range(sys.getrecursionlimit() * 2):
        following = ValueError("next")
        following.__cause__ = error
        error = following

    assert len(text(error).encode()) <= LARGEST


def test_the_bound_is_that_of_the_documentation():
    assert failures.LARGEST == 16 * 1024


class Odd(type):
    """Hides what *hidden* names."""

    hidden = ()

    def __getattribute__(cls, name):
        if name in type.__getattribute__(cls, "hidden"):
            raise RuntimeError(name)
        return type.__getattribute__(cls, name)


def odd(*names, module=__name__):
    kind = Odd("OddError", (Exception,), {"hidden": names, "__module__": module})
    return kind("no")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (odd("__module__"), "OddError"),
        (odd("__qualname__"), "OddError"),
        (odd("__module__", "__qualname__", "__name__"), "unknown"),
        (odd(module=None), "OddError"),
    ],
    ids=["module", "qualname", "nothing", "None as module"],
)
def test_a_class_that_hides_its_name_is_named_as_far_as_it_can_be(error, name):
    assert class_name(error) == name
    assert message(error) == "no"


def test_an_error_whose_traceback_cannot_be_made_has_none():
    error = SyntaxError("no")
    error.filename, error.lineno, error.text = "f", 3, 5

    assert text(raised(error)) is None
    assert text(raised(odd("__module__", "__qualname__"))) is None


def test_a_message_that_fails_in_an_odd_way_is_one_all_the_same():
    class MuteError(Exception):
        def __str__(self):
            raise odd("__module__", "__qualname__", "__name__")

    assert message(MuteError()) == "<exception str() failed: unknown>"
