"""What the command prints: hostile and wide texts, JSON, and colours."""

import json
import math

import pytest

from huey_otel.cli.output import cell, json_line, painted, say

HOSTILE = {
    "escape": ("a\x1b[2Jb", r"a\x1b[2Jb"),
    "eight-bit escape": ("a\x9b2Jb", r"a\x9b2Jb"),
    "new line": ("a\r\nb", r"a\r\nb"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "bidi mark": ("a\u202eb\u2066", r"a\u202eb\u2066"),
    "no character": ("a\ud83cb", r"a\ud83cb"),
    "bell": ("a\ab", r"a\x07b"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_a_text_is_shown_and_not_obeyed(text, shown, capsys):
    say(text)

    assert cell(text, 20) == shown.ljust(20)
    assert capsys.readouterr().err == f"huey-otel: {shown}\n"


@pytest.mark.parametrize("text", [text for text, _ in HOSTILE.values()], ids=HOSTILE)
def test_a_line_of_json_obeys_no_text_and_is_what_it_was(text):
    line = json_line({"id": text})

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"id": text}


@pytest.mark.parametrize(
    ("text", "width", "options", "expected"),
    [
        ("add", 5, {}, "add  "),
        ("add", 5, {"right": True}, "  add"),
        ("app.tasks.add", 8, {}, "app.tas…"),
        ("app.tasks.add", 12, {"path": True}, "…tasks.add  "),
        ("app.tasks.add", 10, {"path": True}, "…tasks.add"),
        ("app.tasks.add", 9, {"path": True}, "…add     "),
        ("app.tasks.add", 3, {"path": True}, "…a…"),
        ("app.tasks.add", 1, {}, "…"),
        ("app.tasks.add", 1, {"path": True}, "…"),
        ("送信する", 8, {}, "送信する"),
        ("送信する", 7, {}, "送信す…"),
        ("送信する", 6, {}, "送信… "),
        ("送信.する", 6, {"path": True}, "…する "),
        ("e\u0301t\u0301e\u0301", 4, {}, "e\u0301t\u0301e\u0301 "),
        ("x" * 10**6, 3, {}, "xx…"),
        # Signs that stand in the cell of what is before them.
        ("कु", 3, {}, "कु  "),
        ("ไม้", 3, {}, "ไม้ "),
        ("\u1112\u1161\u11ab", 3, {}, "\u1112\u1161\u11ab "),
        ("❤\ufe0f", 3, {}, "❤\ufe0f  "),
        ("web-1:4711", 6, {"end": True}, "…:4711"),
        ("web-1:47", 10, {"end": True}, "web-1:47  "),
        ("送信する", 6, {"end": True}, "…する "),
        ("web-1", 1, {"end": True}, "…"),
        ("", 2, {}, "  "),
    ],
)
def test_a_cell_takes_as_many_columns_as_it_is_told(text, width, options, expected):
    assert cell(text, width, **options) == expected


def test_json_has_null_for_what_it_cannot_have():
    deep = []
    for _ in range(100_000):
        deep = [deep]

    line = json_line(
        {"status": "finished", "duration": math.nan, "wait": math.inf, "deep": deep}
    )

    assert json.loads(line) == {
        "status": "finished",
        "duration": None,
        "wait": None,
        "deep": None,
    }


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
    ids=["no terminal", "forced", "refused", "not refused", "dumb"],
)
def test_colours_are_those_that_the_environment_wants(monkeypatch, environ, coloured):
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert painted("lost", "red") == ("\x1b[31mlost\x1b[0m" if coloured else "lost")
