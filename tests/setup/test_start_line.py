"""The start line: a part a line, none wider than a terminal."""

import logging

import pytest

from huey_otel._process import start_line
from huey_otel._safety.version import version


def log(**changes):
    parts = {
        "queue": "shop",
        "page": "http://localhost:9464/metrics",
        "events": "off, events=None",
        "spans": "off",
        "propagation": "auto",
        "periodic": True,
    }
    start_line.log(**(parts | changes))


def test_each_part_has_a_line(caplog):
    with caplog.at_level(logging.INFO, "huey.otel"):
        log()

    (record,) = caplog.records
    assert record.getMessage() == (
        f"huey-otel {version()} observes\n"
        "  queue: shop\n"
        "  metrics: http://localhost:9464/metrics\n"
        "  events: off, events=None\n"
        "  spans: off\n"
        "  propagation: auto, a task runs in the trace that enqueued it\n"
        "  periodic tasks: on"
    )


@pytest.mark.parametrize(
    ("propagation", "said"),
    [
        ("child", "child, a task always runs in the trace that enqueued it"),
        ("link", "link, a task begins a trace with a link to its enqueue"),
        ("none", "none, a task begins a trace of its own"),
        (lambda task: "none", "chosen for each task by a callable"),
    ],
)
def test_propagation_is_said_in_words(caplog, propagation, said):
    with caplog.at_level(logging.INFO, "huey.otel"):
        log(propagation=propagation)

    assert f"\n  propagation: {said}\n" in caplog.text


def test_what_is_wider_than_a_terminal_goes_on_in_the_next_line():
    words = " ".join(["port localhost:9464 is taken"] * 5)

    lines = start_line.text("shop", {"metrics": f"not yet, {words}"}).splitlines()

    assert max(map(len, lines)) <= 79
    assert " ".join(" ".join(lines[2:]).split()) == f"metrics: not yet, {words}"


def test_a_name_neither_breaks_a_line_nor_steers_a_terminal():
    lines = start_line.text("a\nERROR: \x1b[31m\u202e", {}).splitlines()

    assert lines[1:] == ["  queue: a\\nERROR: \\x1b[31m\\u202e"]


def test_an_address_is_not_broken():
    address = f"redis://{'a' * 90}:6379"

    lines = start_line.text("shop", {"events": f"on 'shop' of {address}"}).splitlines()

    assert lines[-1] == f"    {address}"
