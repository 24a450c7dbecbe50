"""The table of events: its columns by the width, and what an event may hold."""

import time

import pytest

from huey_otel.cli.event_table import EventTable

STARTED = {
    "status": "started",
    "error": False,
    "id": "fb95971e-0c1d-4c5e-9f2e-1d6a8f1f9a10",
    "name": "runtime.shop.tasks.charge_card",
    "timestamp": 1795346713.638,
    "queue": "shop",
    "attempt": 1,
    "wait": 0.0312,
    "worker": "Worker-1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}
FAILED = STARTED | {
    "status": "error-task",
    "error": True,
    "duration": 61.5,
    "exception": "runtime.shop.work.DeclinedError",
    "traceback": "Traceback (most recent call last):\n"
    '  File "work.py", line 9, in charge\n'
    "runtime.shop.work.DeclinedError: card of order 8\nwas declined\n",
}
del FAILED["wait"]

WIDTHS = {
    20: """\
event      task
started    …charge_…
error-ta…  …charge_…
  DeclinedError: ca…""",
    60: """\
time          event                 task
11:25:13.638  started               …shop.tasks.charge_card
11:25:13.638  error-task            …shop.tasks.charge_card
  DeclinedError: card of order 8\\nwas declined""",
    80: """\
time          event                 task                     took  try  id
11:25:13.638  started               …tasks.charge_card               1  fb95971e
11:25:13.638  error-task            …tasks.charge_card     61.500    1  fb95971e
  DeclinedError: card of order 8\\nwas declined""",
}
ALL = """\
time          queue         event                 task                            \
      took    waited  try  id        worker      trace
11:25:13.638  shop          started               runtime.shop.tasks.charge_card  \
               0.031    1  fb95971e  Worker-1    4bf92f3577b34da6a3ce929d0e0e4736
11:25:13.638  shop          error-task            runtime.shop.tasks.charge_card  \
    61.500              1  fb95971e  Worker-1    4bf92f3577b34da6a3ce929d0e0e4736
  DeclinedError: card of order 8\\nwas declined"""


@pytest.fixture(autouse=True)
def utc():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def lines(monkeypatch):
    """The lines of some events, in a terminal of some columns, without colours."""
    monkeypatch.setenv("NO_COLOR", "1")

    def lines(width, *events, with_queue=False):
        table = EventTable(with_queue=with_queue)
        monkeypatch.setenv("COLUMNS", str(width))
        return [line for event in events for line in table.lines_of(event)]

    return lines


@pytest.mark.parametrize("width", WIDTHS)
def test_there_are_as_many_columns_as_there_is_room_for(lines, width):
    shown = lines(width, STARTED, FAILED)

    assert shown == WIDTHS[width].splitlines()


def test_with_much_room_all_is_shown(lines):
    shown = lines(163, STARTED, FAILED, with_queue=True)

    assert shown == ALL.splitlines()


@pytest.mark.parametrize("width", range(20, 201))
def test_no_line_is_wider_than_the_terminal(lines, width):
    assert max(map(len, lines(width, STARTED, FAILED, with_queue=True))) <= width


def test_there_is_a_new_heading_when_the_columns_change(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    table, headings = EventTable(with_queue=False), []

    for width in (60, 61, 40, 20, 20):
        monkeypatch.setenv("COLUMNS", str(width))
        headings += [one for one in table.lines_of(STARTED) if "task  " in one + "  "]

    assert headings == [
        "time          event                 task",
        "event                 task",
    ]


MESSAGES = {
    "of a module": ("app.Odd", "Trace\napp.Odd: no\n", "Odd: no"),
    "built in": ("ValueError", "Trace\nValueError: no", "ValueError: no"),
    "of a script": ("__main__.Odd", "Trace\nOdd: no", "Odd: no"),
    "without a message": ("app.Odd", "Trace\napp.Odd", "app.Odd"),
    "of several lines": ("app.Odd", "Trace\napp.Odd: a\nb", r"Odd: a\nb"),
    "without a traceback": ("app.Odd", None, "Odd"),
    "without either": (None, None, None),
    "no texts": ({}, [], None),
    "an escape": (None, "\x1b[2J", r"\x1b[2J"),
}


@pytest.mark.parametrize(
    ("kind", "trace", "message"), MESSAGES.values(), ids=MESSAGES.keys()
)
def test_an_error_has_a_line_with_its_message(lines, kind, trace, message):
    event = {"status": "lost", "name": "app.add", "exception": kind, "traceback": trace}

    (_, _, *below) = lines(60, event)

    assert below == ([] if message is None else [f"  {message}"])


def test_an_event_of_huey_1_has_the_name_of_its_task(lines):
    event = {"status": "started", "task": "queue_task_add", "id": "a", "timestamp": 0}

    (_, line) = lines(60, event)

    assert line == "00:00:00.000  started               queue_task_add"


ODD = {
    "no texts": None,
    "hostile texts": "\x1b]0;x\a\u202e\n",
    "numbers": -1e308,
    "integers": 10**4000,
    "no numbers": float("nan"),
    "infinite": float("inf"),
    "lists": [["x"]],
    "objects": {"x": None},
    "truths": True,
    "long texts": "x" * 100_000,
    "wide texts": "送" * 500,
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_odd_values_stay_in_their_columns(lines, value):
    event = dict.fromkeys(STARTED, value) | {"status": "finished"}

    heading, line = lines(163, event, with_queue=True)

    assert heading == ALL.splitlines()[0]
    assert line.isprintable()
    # A character of Chinese takes two columns.
    assert len(line) + line.count("送") <= 163
    before = line[: line.index("finished")]
    assert len(before) + before.count("送") == heading.index("event")


@pytest.mark.parametrize(
    ("status", "colour"),
    [
        ("started", 36),
        ("finished", 32),
        ("retrying", 33),
        ("error-task", 31),
        ("timeout", 31),
        ("lost", 31),
        ("error-internal", 31),
        ("revoked", 35),
        ("locked", 35),
        ("interrupted", 35),
        ("scheduled", 34),
        ("checking-periodic", 34),
        ("unheard-of", 34),
    ],
)
def test_the_colour_says_how_it_went(monkeypatch, status, colour):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")

    heading, line = EventTable(with_queue=False).lines_of(STARTED | {"status": status})

    assert heading == "\x1b[1mevent                 task\x1b[0m"
    assert line == f"\x1b[{colour}m{status:20}  …tasks.charge_card\x1b[0m"
