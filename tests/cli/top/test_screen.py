"""The screen of `huey-otel top`: as large as the terminal, whatever there is."""

import time
from dataclasses import replace

import pytest

from huey_otel.cli.output import width
from huey_otel.cli.top.screen import connecting, lines_of, most_scrolled
from huey_otel.cli.top.snapshot import (
    Backlog,
    Failing,
    Failure,
    Fleet,
    Periodic,
    Rate,
    Running,
    Snapshot,
    Unknown,
)
from huey_otel.cli.top.view import Shown, View

NOW = 1_764_000_000.0
FAILURE = Failure(
    at=NOW - 3,
    task="app.mail",
    id="5f3c",
    exception="smtplib.SMTPException",
    message="too busy",
    worker="web-1:41",
    traceback="Traceback (most recent call last):\n"
    + "".join(f'  File "{line}"\n' for line in range(40))
    + "smtplib.SMTPException: too busy\n",
)
BUSY = Snapshot(
    queue="my-app",
    server="redis://cache:6379",
    at=NOW,
    backlog=Backlog(
        waiting=1_204, scheduled=31, results=412, oldest=250, overdue=120, grows=True
    ),
    fleet=Fleet(consumers=3, workers=12, busy=11, silent=[("web-2:7", 40)]),
    running=[
        Running(task="app.export", consumer="web-1:41", age=3_120),
        Running(task="app.sync", consumer="web-3:77", age=545),
    ],
    rates=[
        Rate(task="app.mail", done=120, failed=0.42, p95=1.2),
        Rate(task="app.add", done=3_310, failed=0, p95=0.012),
    ],
    window=60,
    periodic=[
        Periodic(task="app.report", succeeded=NOW - 93_600, due=NOW + 3_000, late=True),
        Periodic(task="app.cleanup", succeeded=None, due=NOW + 60, late=False),
    ],
    failing=[
        Failing(task="app.mail", count=88, exception="smtplib.SMTPException", ago=3),
        Failing(task="app.pay", count=4, exception="TimeoutError", ago=60),
    ],
    failures=[FAILURE],
    missed=1,
    trimmed=None,
)
NOTHING = Snapshot(
    queue="my-app",
    server="redis://cache:6379",
    at=NOW,
    backlog=Backlog(waiting=0, scheduled=0, results=None, oldest=None, overdue=None),
)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(
    shown: Snapshot, view: View | None = None, columns: int = 80, lines: int = 24
) -> list[str]:
    return [line.rstrip() for line in lines_of(shown, view or View(), columns, lines)]


BUSY_SCREEN = """\
my-app  redis://cache:6379                           16:00:00  ● events  ● pages
waiting 1,204  oldest 4m10s ↑   OVERDUE 2m00s   scheduled 31   results 412
consumers 3   workers 11/12 busy   web-2:7 silent 40s
────────────────────────────────────────────────────────────────────────────────
RUNNING LONGEST     consumer        age  NOW FAILING    5m  last             ago
app.export          web-1:41        52m  app.mail       88  SMTPException     3s
app.sync            web-3:77      9m05s  app.pay         4  TimeoutError   1m00s

────────────────────────────────────────────────────────────────────────────────
task              done/m  fail%     p95  periodic              last ok  due
app.mail             120   42 %    1.2s  app.report            26h ago  16:50 !
app.add            3,310    0 %    12ms  app.cleanup          not seen  16:01




────────────────────────────────────────────────────────────────────────────────
q quit  / filter  e errors  t traceback                      missed 1  trimmed ?"""

SCREEN_OF_NOTHING = """\
my-app  redis://cache:6379                           16:00:00  ○ events  ○ pages
waiting 0   scheduled 0   no key has this name: is it idle, or called otherwise?
no consumer leaves its metrics: HUEY_OTEL_PUBLISH_METRICS=on
────────────────────────────────────────────────────────────────────────────────
RUNNING LONGEST     consumer        age  NOW FAILING     5m  last            ago
                                         not known without HUEY_OTEL_STREAM=on
────────────────────────────────────────────────────────────────────────────────
task so far       done/m  fail%     p95  periodic              last ok  due



────────────────────────────────────────────────────────────────────────────────
q quit  / filter  e errors  t traceback"""


def test_it_shows_first_what_waits_hangs_and_fails():
    assert "\n".join(drawn(BUSY, lines=18)) == BUSY_SCREEN


def test_what_is_missing_says_which_setting_turns_it_on():
    assert "\n".join(drawn(NOTHING, lines=13)) == SCREEN_OF_NOTHING


def test_queue_without_any_key_may_have_another_name():
    says = "no key has this name: is it idle, or called otherwise?"
    assert drawn(NOTHING)[1] == f"waiting 0   scheduled 0   {says}"
    for found in ({"fleet": BUSY.fleet}, {"failing": []}, {"backlog": BUSY.backlog}):
        assert "no key" not in drawn(replace(NOTHING, **found))[1]


def test_part_that_cannot_be_told_says_why_and_the_others_stay():
    for part, line in (("backlog", 1), ("pages", 2), ("events", -1)):
        unknown = Unknown(**{part: "key is a hash"})
        known, nothing = (
            drawn(replace(one, unknown=unknown)) for one in (BUSY, NOTHING)
        )

        assert "key is a hash" in known[line]
        assert "key is a hash" in nothing[line]
        assert sum(a != b for a, b in zip(known, drawn(BUSY), strict=True)) <= 2
    assert "HUEY_OTEL_STREAM" not in "".join(nothing)
    assert "○ events" in known[0]


@pytest.mark.parametrize("screen", [Shown.ERRORS, Shown.TRACEBACK])
def test_without_a_stream_it_does_not_say_that_nothing_fails(screen):
    lines = drawn(NOTHING, View(shown=screen))

    assert "not known without HUEY_OTEL_STREAM=on" in lines


def test_first_frame_has_heads_and_says_that_it_connects():
    lines = [line.rstrip() for line in connecting("my-app", "redis://cache", 80, 24)]

    assert lines[0].startswith("my-app  redis://cache ")
    assert lines[1] == "connecting"
    assert len(lines) == 24


def test_redis_that_is_away_is_said_and_what_was_known_stays():
    away = replace(BUSY, away="refused")

    assert drawn(away)[1] == "NO ANSWER: refused"
    assert drawn(away)[5] == drawn(BUSY)[5]


def test_errors_are_listed_one_by_one_and_the_chosen_one_is_on_the_screen():
    more = [
        replace(FAILURE, id=str(number), message=f"number {number}")
        for number in range(50)
    ]
    shown = replace(BUSY, failures=more)

    top = drawn(shown, View(shown=Shown.ERRORS), lines=9)
    below = drawn(shown, View(shown=Shown.ERRORS, chosen=more[40]), lines=9)

    assert top[3:6] == [
        " when      LAST FAILURES +46     exception           message        worker",
        ">15:59:57  app.mail              SMTPException       number 0       web-1:41",
        " 15:59:57  app.mail              SMTPException       number 1       web-1:41",
    ]
    assert "number 40" in below[7]
    assert below[7].startswith(">")


def test_traceback_can_be_scrolled_to_its_end_and_no_further():
    first = drawn(BUSY, View(shown=Shown.TRACEBACK), lines=10)
    last = drawn(BUSY, View(shown=Shown.TRACEBACK, scrolled=1_000), lines=10)

    assert first[3:7] == [
        "app.mail  5f3c  15:59:57  web-1:41",
        "smtplib.SMTPException: too busy",
        "Traceback (most recent call last):",
        '  File "0"',
    ]
    assert last[7:9] == ['  File "39"', "smtplib.SMTPException: too busy"]


def test_long_lines_of_a_traceback_go_on_in_the_next_line():
    long = replace(FAILURE, traceback=f'  File "/{"d" * 90}/api.py", line 7, in f')
    shown = replace(BUSY, failures=[long])
    view = View(shown=Shown.TRACEBACK)

    lines = drawn(shown, view, lines=10)

    assert lines[5] == f'  File "/{"d" * 71}'
    assert lines[6] == f'{"d" * 19}/api.py", line 7, in f'
    assert most_scrolled(shown, view, 80, 6) == 1
    assert most_scrolled(shown, view, 80, 7) == 0
    assert most_scrolled(shown, View(), 80, 6) == 0


SMALL_SCREEN = """\
my-app  redis://cache:6379
waiting 1,204  oldest 4m10s ↑   OVERDUE…
consumers 3   workers 11/12 busy
RUNNING LONGEST +1   consumer        age
app.export           web-1:41        52m
NOW FAILING +1  5m  last             ago
app.mail        88  SMTPException     3s
task +1            done/m  fail%     p95
app.mail              120   42 %    1.2s
q quit  / filter  …  missed 1  trimmed ?"""

SMALLEST_SCREEN = """\
my-app  redis://cac…
waiting 1,204  olde…
consumers 3   worke…
NOW FAILING +1    5m
app.mail          88"""


def test_small_terminals_show_what_is_wrong_and_no_rules():
    idle = replace(BUSY, running=[])

    assert "\n".join(drawn(BUSY, columns=40, lines=10)) == SMALL_SCREEN
    assert "\n".join(drawn(idle, columns=20, lines=5)) == SMALLEST_SCREEN
    assert drawn(BUSY, View(typing=True, filter="ma"), 20, 5)[-1] == "/ma"


def test_wide_terminals_show_names_as_they_are():
    host = "web-7d9f8b6c5-x2x4z.jobs.svc.cluster.local:41"
    failure = replace(
        FAILURE,
        task="shop.orders.tasks.notify_the_customer",
        exception="shop.orders.errors.TheCustomerCouldNotBeNotified",
        message="too busy" * 100,
        worker=host,
    )
    shown = replace(
        BUSY,
        failures=[failure],
        running=[Running(task=failure.task, consumer=host, age=9)],
    )

    wide = drawn(shown, View(shown=Shown.ERRORS), 200, 20)
    usual = drawn(shown, View(shown=Shown.ERRORS), 80, 20)

    for text in (failure.task, host, "TheCustomerCouldNotBeNotified", "too busy"):
        assert text in wide[5]
    assert host in drawn(shown, columns=200, lines=24)[5]
    # What tells one from another.
    assert usual[5].endswith("  …c5-x2x4z:41")


@pytest.mark.parametrize(
    ("consumer", "cut"),
    [
        ("web-1.example.com:41", "web-1:41"),
        ("ip-10-0-3-17.eu-west-1.compute.internal:12345", "…-3-17:12345"),
        ("10.0.3.17:12345", "….3.17:12345"),
        ("h" * 300, "…" + "h" * 11),
    ],
)
def test_consumer_is_cut_where_they_are_alike(consumer, cut):
    shown = replace(BUSY, running=[Running(task="a" * 60, consumer=consumer, age=1)])

    assert drawn(shown)[5].split()[1] == cut


def test_few_are_not_none_and_nearly_all_are_not_all():
    shares = (0.0, 0.001, 0.009, 0.01, 0.5, 0.99, 0.999, 1.0, None)
    rates = [Rate(task="a", done=1, failed=one, p95=1.0) for one in shares]

    lines = drawn(replace(BUSY, rates=rates), columns=60, lines=100)

    found = [line[47:52].strip() for line in lines if line.startswith("a ")]
    assert found == [
        *("0 %", "<1 %", "<1 %", "1 %", "50 %", "99 %", ">99 %", "100 %", "")
    ]


def test_more_than_one_that_is_silent_or_stuck_are_counted():
    fleet = Fleet(
        consumers=12,
        workers=24,
        busy=0,
        silent=[("web-1:7", 90), ("web-2:7", 40), ("web-3:7", 30)],
        stuck=[("web-4:7", "dequeue"), ("web-5:7", "scheduler")],
    )

    assert drawn(replace(BUSY, fleet=fleet), columns=120)[2] == (
        "consumers 12   workers 0/24 busy   web-4:7 STUCK in dequeue and 1 more"
        "   web-1:7 silent 1m30s and 2 more"
    )


def test_without_keys_it_says_what_ends_it():
    for screen in Shown:
        assert drawn(BUSY, View(shown=screen, keys=False))[-1].startswith("Ctrl-C quit")


def test_filter_holds_for_all_tables_and_is_shown():
    lines = drawn(BUSY, View(filter="MAIL"))

    text = "\n".join(lines[4:])
    assert "app.mail" in text
    assert {"app.export", "app.add", "app.pay", "app.report"} & set(
        text.split()
    ) == set()
    assert "none with 'MAIL'" in text
    assert lines[-1].endswith("filter /MAIL  missed 1  trimmed ?")


def test_filter_that_is_typed_is_shown_as_it_is_typed():
    assert drawn(BUSY, View(filter="ma", typing=True))[-1] == "/ma"


@pytest.mark.parametrize("columns", [20, 33, 65, 80, 200])
@pytest.mark.parametrize("lines", [1, 3, 6, 7, 8, 12, 24, 60])
@pytest.mark.parametrize("screen", Shown)
@pytest.mark.parametrize("shown", [BUSY, NOTHING])
def test_it_is_as_large_as_the_terminal(shown, screen, lines, columns):
    got = lines_of(shown, View(shown=screen), columns, lines)

    assert len(got) == lines
    assert max(map(width, got)) <= columns


HOSTILE = "\x1b[2Jevil\n\u202eabc界" * 20


@pytest.mark.parametrize("screen", Shown)
def test_texts_are_shown_and_never_obeyed(screen):
    bad = Snapshot(
        queue=HOSTILE,
        server=HOSTILE,
        at=NOW,
        backlog=NOTHING.backlog,
        fleet=Fleet(
            consumers=1,
            workers=1,
            busy=1,
            silent=[(HOSTILE, 1)],
            stuck=[("x", HOSTILE)],
        ),
        running=[Running(task=HOSTILE, consumer=HOSTILE, age=1)],
        rates=[Rate(task=HOSTILE, done=1, failed=1, p95=1)],
        periodic=[Periodic(task=HOSTILE, succeeded=1, due=1, late=True)],
        failing=[Failing(task=HOSTILE, count=1, exception=HOSTILE, ago=1)],
        failures=[
            Failure(
                at=NOW,
                task=HOSTILE,
                id=HOSTILE,
                exception=HOSTILE,
                message=HOSTILE,
                worker=HOSTILE,
                traceback=HOSTILE,
            )
        ],
    )

    for line in lines_of(bad, View(shown=screen, filter="evil"), 120, 24):
        assert line.isprintable()
        assert width(line) <= 120


def test_it_is_coloured_on_a_terminal_alone(monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")

    lines = lines_of(BUSY, View(), 80, 24)

    assert "\x1b[31mOVERDUE 2m00s\x1b[0m" in lines[1]
    assert "\x1b[33mweb-2:7 silent 40s\x1b[0m" in lines[2]
