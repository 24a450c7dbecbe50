"""What the command prints, and its exit codes."""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import redis

from huey_otel.cli.check.codes import CODES
from huey_otel.cli.main import main
from tests.support.checking import APPLICATION, Told
from tests.support.programs import free_port

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command: its exit code, the lines it prints, and what it says."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = main(["check", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


@contextmanager
def serving(pages: dict[str, tuple[int, str]]) -> Iterator[int]:
    """Serves *pages*, status and text by path, on the port that is given."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = pages[self.path.partition("?")[0]]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_each_finding_has_a_line_the_worst_first(
    run: Run,
    checked: Callable[..., ModuleType],
    redis_url: str,
    ago: Callable[..., Any],
) -> None:
    module = checked(HUEY_OTEL_CHANEL="a")
    ago(7_200, lambda: module.add(1, 2))

    code, lines, _ = run(APPLICATION)

    assert code == 1
    assert lines == [
        "error    no-consumer      live: 1 message waits, the oldest for 2 h, and no"
        " consumer is connected to database 0; start a consumer, as in: huey_consumer"
        " app.huey",
        "warning  variable         in this environment HUEY_OTEL_CHANEL is no setting"
        " of huey-otel and has no effect (did you mean HUEY_OTEL_CHANNEL?); correct or"
        " unset it, and restart the process",
        f"looked at queue live of {APPLICATION}; {redis_url.removesuffix('/0')}"
        " database 0; spans to the tracer_provider= given, started light; events on"
        " channel live",
    ]


def test_nothing_is_a_finding_as_well(
    run: Run, checked: Callable[..., ModuleType]
) -> None:
    checked()

    code, lines, _ = run(APPLICATION)

    assert (code, lines[0]) == (0, "nothing found")


def test_what_cannot_be_told_has_no_advice(
    run: Run, checked: Callable[..., ModuleType], conn: redis.Redis
) -> None:
    checked()
    conn.execute_command("ACL", "SETUSER", "default", "-acl")

    code, lines, _ = run(APPLICATION, "--strict")

    assert code == 0
    assert re.fullmatch(
        r"note     acl              cannot tell whether events may be published:"
        r" ACL WHOAMI is refused \(.*\)",
        lines[0],
    )


def test_levels_have_colours_where_these_are_wanted(
    run: Run, checked: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked().add(1, 2)
    begins = {}
    for variable in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.setenv(variable, "1")
        begins[variable] = run(APPLICATION)[1][0].partition(" ")[0]

    assert begins == {"FORCE_COLOR": "\x1b[33mwarning\x1b[0m", "NO_COLOR": "warning"}


EVIL = "a\x1b[31m\n\u202eb"


def test_texts_are_shown_and_not_obeyed(
    run: Run, conn: redis.Redis, redis_url: str
) -> None:
    conn.lpush(f"huey.redis.{EVIL}", b"a message")

    _, lines, err = run(redis_url, "--queue", EVIL[:-1])
    _, found, _ = run(redis_url, "--queue", EVIL[:-1], "--json")

    assert len(lines) == 2
    assert "did you mean" in lines[0]
    assert all(line.isprintable() for line in (*lines, *err.splitlines(), *found))


def test_a_page_that_is_hostile_is_shown_and_not_obeyed(run: Run) -> None:
    label = r'queue="a\n\"b' + EVIL.replace("\n", r"\n") + '"'
    metrics = f"huey_consumer_info{{{label}}} 1\nhuey_results{{{label}}} NaN\n"
    pages = {"/metrics": (200, metrics), "/healthz": (503, f"{EVIL} is dead")}
    with serving(pages) as port:
        code, lines, _ = run(f"localhost:{port}")

    assert code == 1
    assert lines[0].startswith(
        f"error    stuck            the consumer at localhost:{port} says: "
        r"a\x1b[31m\n\u202eb is dead; "
    )
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("<html>", "answers, but as no huey-otel consumer"),
        ("huey_consumer_info{queue=", "does not answer: "),
        ("huey_consumer_info 1\n" + "#" * 9_000_000, "the page is too large"),
    ],
    ids=["other", "broken", "too large"],
)
def test_an_address_that_is_no_consumers_cannot_be_looked_at(
    run: Run, metrics: str, said: str
) -> None:
    with serving({"/metrics": (200, metrics)}) as port:
        code, lines, err = run(f"127.0.0.1:{port}", "--json")

    assert (code, lines) == (2, [])
    assert err.startswith(f"huey-otel: 127.0.0.1:{port} ")
    assert said in err


def test_an_address_where_nobody_listens_cannot_be_looked_at(run: Run) -> None:
    port = free_port()

    code, lines, err = run(f"localhost:{port}")

    assert (code, lines) == (2, [])
    assert err.startswith(f"huey-otel: localhost:{port} does not answer: ")


def test_a_consumer_is_looked_at_by_its_address(
    run: Run, checked: Callable[..., ModuleType]
) -> None:
    port = free_port()
    module = checked(HUEY_OTEL_METRICS_PORT=str(port))
    consumer = module.huey.create_consumer(workers=1, periodic=False)
    consumer.start()
    try:
        told = [run(f"localhost:{port}"), run(APPLICATION)]
    finally:
        consumer.stop(graceful=True)

    assert [(code, lines[0]) for code, lines, _ in told] == [(0, "nothing found")] * 2
    assert told[0][1][1] == f"looked at queue live; the pages at localhost:{port}"
    assert told[1][1][1].endswith(f"; the pages at localhost:{port}")


def test_json_is_one_object(
    run: Run,
    checked: Callable[..., ModuleType],
    redis_url: str,
    ago: Callable[..., Any],
) -> None:
    module = checked()
    ago(7_200, lambda: module.add(1, 2))

    code, lines, _ = run(redis_url, "--queue", "live", "--json")

    (line,) = lines
    assert code == 1
    assert json.loads(line) == {
        "findings": [
            {
                "level": "error",
                "code": "no-consumer",
                "queue": "live",
                "text": "1 message waits, the oldest for 2 h, and no consumer is"
                " connected to database 0",
                "cannot_tell": False,
                "advice": CODES["no-consumer"].advice,
            }
        ],
        "looked_at": [
            [
                "queue live",
                f"{redis_url.removesuffix('/0')} database 0",
                "events on channel live",
            ]
        ],
    }


def test_several_queues_are_looked_at(
    check: Callable[..., Told], checked: Callable[..., ModuleType], redis_url: str
) -> None:
    for queue in ("one", "two"):
        checked(LIVE_QUEUE=queue).add(1, 2)

    told = check(redis_url, "--queue", "two", "--queue", "one", "--queue", "three")

    assert [(one["queue"], one["code"]) for one in told.findings] == [
        ("one", "no-consumer"),
        ("two", "no-consumer"),
        ("three", "no-keys"),
    ]
    assert [parts[0] for parts in told.looked_at] == [
        *("queue two", "queue one", "queue three")
    ]


def test_no_password_is_shown(run: Run, checked: Callable[..., ModuleType]) -> None:
    port = free_port()
    checked(
        LIVE_QUEUE_URL=f"redis://me:hidden@127.0.0.1:{port}/0",
        HUEY_OTEL_EVENTS=f"redis://me:hidden@127.0.0.1:{free_port()}/0",
    )

    told = [
        run(APPLICATION),
        run(f"redis://me:hidden@127.0.0.1:{port}", "--queue", "q"),
    ]

    assert [code for code, _, _ in told] == [1, 2]
    assert "hidden" not in str(told)


@pytest.mark.parametrize("seconds", ["-1", "soon", "4000"])
def test_listening_takes_at_most_an_hour(run: Run, seconds: str) -> None:
    code, _, err = run("redis://localhost", "--queue", "q", "--listen", seconds)

    assert code == 2
    assert err.splitlines()[-1] == (
        f"huey-otel: argument --listen: {seconds!r}: expected a number of seconds from"
        " 0 to 3600"
    )
