"""The start line: a part a line, none wider than a terminal."""

import logging

import pytest

from huey_otel import instrument
from huey_otel._safety.version import version
from huey_otel._tasks.consumer import start_line


@pytest.fixture
def started(huey, caplog, monkeypatch):
    """Starts what a consumer starts before its workers; returns the lines it logs."""

    def start(*, periodic=True, **options):
        instrumentation = instrument(huey, metrics_port=None, **options)
        consumer = huey.create_consumer(workers=1, periodic=periodic)
        with caplog.at_level(logging.INFO, "huey.otel"), instrumentation:
            huey._huey_otel.consumer.starts(consumer)
            huey._huey_otel.consumer.started(consumer)
        return caplog.messages[-1].splitlines()

    return start


def test_each_part_has_a_line(started):
    lines = started(events=None)

    assert lines[:4] == [
        f"huey-otel {version()} observes",
        "  queue: my-app",
        "  metrics: off, metrics_port=None",
        "  events: off, events=None",
    ]
    assert lines[4].startswith("  spans: none until the application sets a tracer")
    assert lines[-2:] == [
        "  propagation: auto, a task runs in the trace that enqueued it",
        "  periodic tasks: on",
    ]


def test_metrics_pages_have_a_line_where_they_are_wanted(started, caplog):
    lines = started(events=None, publish_metrics=True)

    where = "off, neither the queue nor its events have a Redis in reach"
    assert lines[3:5] == [
        "  metrics pages: off, neither the queue nor its events have a Redis in reach",
        "  events: off, events=None",
    ]
    assert f"queue my-app: metrics pages are {where}" in caplog.messages


def test_periodic_tasks_are_off_where_the_consumer_has_none(started):
    assert started(periodic=False)[-1] == "  periodic tasks: off"


@pytest.mark.parametrize(
    ("propagation", "words"),
    [
        ("child", "child, a task always runs in the trace that enqueued it"),
        ("link", "link, a task begins a trace with a link to its enqueue"),
        ("none", "none, a task begins a trace of its own"),
        (lambda task: "none", "chosen for each task by a callable"),
    ],
)
def test_propagation_is_written_in_words(started, propagation, words):
    assert f"  propagation: {words}" in started(propagation=propagation)


def test_a_part_wider_than_a_terminal_goes_on_in_the_next_line():
    words = " ".join(["port localhost:9464 is taken"] * 5)

    lines = start_line("shop", {"metrics": f"not yet, {words}"}).splitlines()

    assert max(map(len, lines)) <= 79
    assert " ".join(" ".join(lines[2:]).split()) == f"metrics: not yet, {words}"


def test_a_name_neither_breaks_a_line_nor_steers_a_terminal():
    lines = start_line("a\nERROR: \x1b[31m\u202e", {}).splitlines()

    assert lines[1:] == ["  queue: a\\nERROR: \\x1b[31m\\u202e"]


def test_an_address_is_not_broken():
    address = f"redis://{'a' * 90}:6379"

    lines = start_line("shop", {"events": f"on 'shop' of {address}"}).splitlines()

    assert lines[-1] == f"    {address}"
