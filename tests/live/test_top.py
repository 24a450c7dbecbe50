"""`huey-otel top` on a real terminal, with real consumers."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer
from tests.support.programs import ROOT, bare_environment
from tests.support.redis_server import RedisServer
from tests.support.terminal import Terminal
from tests.support.waiting import wait_to_read, wait_until

COMMAND = (sys.executable, "-m", "huey_otel", "top")
ON = {
    "HUEY_OTEL_PUBLISH_METRICS": "1",
    "HUEY_OTEL_STREAM": "on",
    "HUEY_OTEL_METRICS_PORT": "0",
}


@pytest.fixture
def top(redis_url: str) -> Iterator[Callable[..., Terminal]]:
    """Starts top, by default of the queue `live` on the test's Redis."""
    made: list[Terminal] = []

    def start(
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        command: Sequence[str] = (),
        **environ: str,
    ) -> Terminal:
        own = {"LIVE_QUEUE_URL": redis_url, "NO_COLOR": "1", **environ}
        target = arguments or (redis_url, "--queue", "live")
        made.append(
            Terminal(
                command or (*COMMAND, *target),
                bare_environment() | own,
                columns=columns,
                lines=lines,
            )
        )
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


@pytest.fixture
def start(consumer: Callable[..., Consumer]) -> Callable[..., Consumer]:
    """Starts a consumer that leaves pages and a stream."""

    def start(kind: str = "thread", *options: str, **environ: str) -> Consumer:
        return consumer(kind, *options, application="checked", **{**ON, **environ})

    return start


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_it_shows_what_waits_runs_and_fails(
    kind: str,
    start: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    top: Callable[..., Terminal],
) -> None:
    app = application("checked")
    start(kind, "-w", "2", LIVE_PERIODIC="yes")
    app.fail()
    app.add(1, 2)
    app.sleep(300)
    app.sleep(300)
    app.add(3, 4)
    app.add.schedule((5, 6), delay=600)

    terminal = top()

    terminal.shows(
        *("● events  ● pages", "waiting 2  oldest", "scheduled 1"),
        *("consumers 1   workers 2/2 busy", "RUNNING LONGEST", "NOW FAILING"),
        *("checked.fail", "ValueError", "checked.sleep"),
        *("checked.nightly", "not seen", "03:00"),
    )
    terminal.press("e")
    terminal.shows("LAST FAILURES", "ValueError", "no")
    terminal.press("t")
    terminal.shows("ValueError: no", "Traceback (most recent call last):", "j k scroll")
    terminal.press("q", "q", "/", *"sleep", "\r")
    terminal.shows("none with 'sleep'", "filter /sleep")
    terminal.press("q")
    assert terminal.end() == 0


def test_both_targets_are_shown_and_what_is_off_says_which_setting_turns_it_on(
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    top: Callable[..., Terminal],
) -> None:
    app = application("checked")
    app.add(1, 2)

    for target in ((), ("tests.live.apps.checked.huey",)):
        terminal = top(*target)
        terminal.shows(
            *("○ events  ○ pages", "waiting 1  oldest", "scheduled 0"),
            "no consumer leaves its metrics: HUEY_OTEL_PUBLISH_METRICS=on",
            "not known without HUEY_OTEL_STREAM=on",
        )
        terminal.press("q")
        assert terminal.end() == 0


def test_a_redis_that_goes_away_is_said_and_comes_back(
    start: Callable[..., Consumer],
    redis_server: RedisServer,
    top: Callable[..., Terminal],
) -> None:
    start("thread", "-w", "3")
    terminal = top()
    terminal.shows("consumers 1   workers 0/3 busy")

    redis_server.pause()
    terminal.shows("NO ANSWER: ", "workers 0/3 busy")
    redis_server.resume()
    wait_until(lambda: "NO ANSWER" not in terminal.text)
    terminal.shows("waiting 0", "workers 0/3 busy")


def test_a_redis_that_is_not_there_is_said(
    top: Callable[..., Terminal],
) -> None:
    server = RedisServer()
    with server:
        url = server.url
    terminal = top(url, "--queue", "live")

    terminal.shows("NO ANSWER: ", "refused")
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("huey.redis.live", "NOT KNOWN: huey.redis.live is a hash, and no queue"),
        ("huey.schedule.live", "NOT KNOWN: huey.schedule.live is a hash, and no sch"),
        ("huey.metrics.live", "NOT KNOWN: huey.metrics.live cannot be read: WRONGTYPE"),
        ("huey.events.live", "NOT KNOWN: huey.events.live is a hash, and no stream"),
    ],
)
def test_a_key_of_another_type_is_said_and_is_no_missing_setting(
    key: str, says: str, conn: redis.Redis, top: Callable[..., Terminal]
) -> None:
    conn.hset(key, "a", "b")
    terminal = top(columns=120)

    terminal.shows(says)

    advice = {"events": "HUEY_OTEL_STREAM", "metrics": "HUEY_OTEL_PUBLISH_METRICS"}
    assert advice.get(key.split(".")[1], "nothing") not in terminal.text
    conn.delete(key)
    terminal.shows("waiting 0   scheduled 0   no key has this name")
    # Below it the rest of a frame may still come.
    wait_until(lambda: "NOT KNOWN" not in terminal.text)


def test_a_stream_that_becomes_unreadable_is_said(
    start: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    conn: redis.Redis,
    top: Callable[..., Terminal],
) -> None:
    app = application("checked")
    start("thread")
    app.fail()
    terminal = top()
    terminal.shows("● events", "checked.fail")

    conn.delete("huey.events.live")
    conn.hset("huey.events.live", "a", "b")
    terminal.shows("○ events", "EVENTS NOT KNOWN: ", "checked.fail")
    conn.delete("huey.events.live")

    terminal.shows("● events", "missed 0")


def test_what_a_user_may_not_read_is_said_and_is_no_missing_setting(
    start: Callable[..., Consumer],
    conn: redis.Redis,
    redis_url: str,
    top: Callable[..., Terminal],
) -> None:
    start("thread", "-w", "3")
    rights = ("~*", "+@all", "-xrevrange")
    conn.execute_command("ACL", "SETUSER", "few", "on", ">pw", *rights)

    terminal = top(redis_url.replace("//", "//few:pw@"), "--queue", "live")

    terminal.shows("workers 0/3 busy", "EVENTS NOT KNOWN: huey.events.live cannot be")
    assert "HUEY_OTEL_STREAM" not in terminal.text


def test_pages_that_cannot_be_read_are_said(
    start: Callable[..., Consumer], conn: redis.Redis, top: Callable[..., Terminal]
) -> None:
    start("thread", "-w", "3")
    for name in ("bad:1:1", "bad:2:1"):
        conn.set(f"huey.metrics.live.{name}", b"no page", ex=600)
        conn.zadd("huey.metrics.live", {name: conn.time()[0]})

    terminal = top(columns=120)

    terminal.shows("workers 0/3 busy   huey.metrics.live.bad:", " has no head in JSON")
    terminal.shows(", and 1 more page")


def test_a_consumer_that_is_killed_is_silent_and_one_that_ends_is_gone(
    start: Callable[..., Consumer], top: Callable[..., Terminal]
) -> None:
    killed, stopped = start("thread"), start("thread")
    terminal = top()
    terminal.shows("consumers 2")

    killed.kill()
    stopped.stop()

    terminal.shows("consumers 0", f":{killed.pid} silent")
    assert f":{stopped.pid}" not in terminal.text


def test_it_uses_the_terminal_as_it_is_and_leaves_it_as_it_was(
    redis_url: str, top: Callable[..., Terminal]
) -> None:
    terminal = top(columns=80, lines=24)
    before = terminal.modes
    terminal.shows("waiting 0")
    terminal.resize(120, 40)

    wait_until(lambda: terminal.lines[39].startswith("q quit"))
    terminal.press("\x03")

    assert terminal.end() == 130
    assert terminal.modes == before
    assert terminal.raw.count(b"\x1b[?1049h") == terminal.raw.count(b"\x1b[?1049l") == 1


def test_keys_that_mean_nothing_do_nothing(top: Callable[..., Terminal]) -> None:
    terminal = top()
    terminal.shows("waiting 0")
    # Alt-q, F5, Ctrl-up, Delete, a paste of a key's beginning.
    terminal.press("\x1bq", "\x1b[15~", "\x1b[1;5A", "\x1b[3~", "\x1bO")

    terminal.press("/", "\x1b[3~", "a", "\x1b[1;5A", "\x1b[200~", "é", "界", "\x1bq")

    wait_until(lambda: terminal.lines[-1].startswith("/"))
    wait_until(lambda: terminal.lines[-1].replace(" ", "") == "/aé界")


def test_a_character_may_come_in_parts(top: Callable[..., Terminal]) -> None:
    terminal = top()
    terminal.shows("waiting 0")
    terminal.press("/")
    wait_until(lambda: terminal.lines[-1] == "/")

    for byte in "界x".encode():
        terminal.press_bytes(bytes([byte]))

    wait_until(lambda: terminal.lines[-1].replace(" ", "") == "/界x")


def test_a_resize_to_nothing_and_back_leaves_a_whole_screen(
    top: Callable[..., Terminal],
) -> None:
    terminal = top()
    terminal.shows("waiting 0")
    for columns, lines in ((10, 3), (1, 1), (3, 40)):
        terminal.resize(columns, lines)
        wait_until(lambda lines=lines: len(terminal.lines) == lines)

    terminal.resize(80, 24)

    terminal.shows("RUNNING LONGEST", "NOW FAILING", "q quit")
    assert terminal.lines[0].startswith("live  redis://")


@pytest.mark.parametrize("how", ["</dev/null", "<&-"])
def test_without_keys_it_is_shown_until_ctrl_c(
    how: str, redis_url: str, top: Callable[..., Terminal]
) -> None:
    line = f"exec {' '.join(COMMAND)} {redis_url} --queue live {how}"
    terminal = top(command=("sh", "-c", line))
    terminal.shows("waiting 0", "Ctrl-C quit")

    terminal.press("\x03")

    assert terminal.end() == 130


def test_a_terminal_that_lacks_characters_shows_others(
    top: Callable[..., Terminal],
) -> None:
    terminal = top(PYTHONIOENCODING="latin-1")

    terminal.shows("o events  o pages", "-" * 80, "q quit")
    assert "\\u" not in terminal.text


def test_a_terminal_without_a_screen_gets_json(top: Callable[..., Terminal]) -> None:
    terminal = top(TERM="dumb")

    assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw
    assert json.loads(terminal.raw)["queue"] == "live"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_it_leaves_the_terminal_as_it_was_however_it_ends(
    signum: signal.Signals, top: Callable[..., Terminal]
) -> None:
    terminal = top()
    before = terminal.modes
    terminal.shows("waiting 0")

    assert terminal.end(signum) == 130
    assert terminal.modes == before


def test_it_stops_and_goes_on_as_the_shell_says(top: Callable[..., Terminal]) -> None:
    terminal = top()
    terminal.shows("waiting 0")

    terminal.process.send_signal(signal.SIGTSTP)
    wait_until(lambda: terminal.raw.count(b"\x1b[?1049l") == 1)
    terminal.process.send_signal(signal.SIGCONT)
    wait_until(lambda: terminal.raw.count(b"\x1b[?1049h") == 2)
    terminal.press("e")

    terminal.shows("LAST FAILURES")


def test_an_application_that_cannot_be_imported_shows_its_traceback(
    top: Callable[..., Terminal],
) -> None:
    terminal = top("tests.live.apps.no_such.huey")

    assert terminal.end() == 2
    assert b"no_such" in terminal.raw.partition(b"\x1b[?1049l")[2]


def printed(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*COMMAND, *arguments),
        cwd=ROOT,
        env=bare_environment() | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_a_terminal_it_is_one_line_of_json(
    start: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    conn: redis.Redis,
    redis_url: str,
) -> None:
    app = application("checked")
    start("thread", "-w", "2", LIVE_PERIODIC="yes")
    app.fail()
    app.add(1, 2)
    app.sleep(300)

    def shown() -> dict[str, object]:
        done = printed(redis_url, "--queue", "live")
        assert (done.returncode, done.stderr) == (0, "")
        (line,) = done.stdout.splitlines()
        found = json.loads(line)

        def each(part: str, key: str) -> list[object]:
            # A part is None until the first page, or the stream, is there.
            return [one[key] for one in found[part] or ()]

        rates = dict(zip(each("rates", "task"), each("rates", "failed"), strict=True))
        return {
            **found,
            "at": type(found["at"]),
            "window": type(found["window"]),
            # Of the tasks of this test alone.
            "rates": rates.get("tests.live.apps.checked.add"),
            "running": each("running", "task"),
            "periodic": each("periodic", "task"),
            "failing": each("failing", "task"),
            "failures": each("failures", "message"),
        }

    wait_to_read(
        shown,
        {
            "queue": "live",
            "server": redis_url.removesuffix("/0"),
            "at": float,
            "window": float,
            "backlog": {
                "waiting": 0,
                "scheduled": 1,
                "results": 2,
                "oldest": None,
                "overdue": None,
                "grows": False,
            },
            "fleet": {
                "consumers": 1,
                "workers": 2,
                "busy": 1,
                "silent": [],
                "stuck": [],
            },
            "running": ["tests.live.apps.checked.sleep"],
            "periodic": ["tests.live.apps.checked.nightly"],
            "failing": ["tests.live.apps.checked.fail"],
            "failures": ["no"],
            "missed": 0,
            "trimmed": 0,
            "away": None,
            "unknown": {"backlog": "", "pages": "", "events": ""},
            "rates": 0.0,
        },
    )


def test_what_cannot_be_looked_at_has_exit_code_2(redis_url: str) -> None:
    with RedisServer() as server:
        url = server.url

    away = printed(url, "--queue", "live")
    address = printed("localhost:9464")

    assert (away.returncode, away.stdout) == (2, "")
    assert away.stderr.count("refused") == 1
    assert address.returncode == 2
    assert "'localhost:9464': a consumer's address shows one consumer" in address.stderr


def test_a_queue_in_the_memory_of_another_process_is_no_empty_one(
    redis_url: str,
) -> None:
    target = "tests.live.apps.checked.huey"
    environ = {"LIVE_QUEUE_URL": redis_url, "LIVE_HUEY": "MemoryHuey"}

    alone = printed(target, **environ)
    told = printed(target, **environ, HUEY_OTEL_EVENTS=redis_url)

    assert (alone.returncode, alone.stdout) == (2, "")
    assert "in the memory of its own process" in alone.stderr
    assert told.returncode == 0
    assert json.loads(told.stdout)["backlog"]["waiting"] is None


def test_the_first_frame_is_drawn_before_redis_is_imported(redis_url: str) -> None:
    load = (
        "import sys\n"
        "from huey_otel.cli.top import command, terminal\n"
        "class Shown(Exception): pass\n"
        "def show(self, lines):\n"
        "    raise Shown(lines[0], lines[1], 'redis' in sys.modules)\n"
        "terminal.Terminal.show = show\n"
        "from huey_otel.cli.main import main\n"
        "from huey_otel.cli.output import is_terminal\n"
        "command.is_terminal = lambda: True\n"
        "try:\n"
        f"    main(['top', {redis_url!r}, '--queue', 'live'])\n"
        "except Shown as shown:\n"
        "    print(shown.args)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", load],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "connecting" in done.stdout, done.stderr
    assert "False)" in done.stdout
