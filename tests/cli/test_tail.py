"""`huey-otel tail` as a process: its output, what it says, and how it ends."""

import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading

import pytest
import redis

from tests.support.commands import Command
from tests.support.programs import ROOT, bare_environment, free_port
from tests.support.redis_server import serving
from tests.support.waiting import wait_to_read, wait_until

pytestmark = [pytest.mark.live, pytest.mark.once, pytest.mark.slow]

server = pytest.fixture(serving)


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def tail():
    """Starts the command; it is ended with the test."""
    started = []

    def tail(*arguments, **options):
        started.append(Command("tail", *arguments, **options))
        return started[-1]

    yield tail
    for command in started:
        command.__exit__(None, None, None)


HEARS = "as they come: Redis keeps none, so earlier ones are not shown"


def event(seq, **more):
    return {
        "status": "finished",
        "error": False,
        "id": f"{seq:08}-0c1d",
        "task": "add",
        "name": "app.tasks.add",
        "timestamp": 1795346713.638,
        "queue": "q",
        "attempt": 1,
        "duration": 0.25,
        "publisher": "web-1:7:1",
        "seq": seq,
    } | more


def publish(admin, *events, channel="q"):
    for one in events:
        data = one if isinstance(one, bytes) else json.dumps(one)
        assert admin.publish(channel, data) == 1


def test_into_a_pipe_each_event_is_a_line_of_json(server, admin, tail):
    command = tail(server.url, "--queue", "q").said(HEARS)
    odd = event(2, name="\x1b[2J\u202e\n送", traceback="a\nb")

    publish(admin, event(1), odd)

    assert [json.loads(line) for line in command.shown(2)] == [event(1), odd]
    assert all(line.isascii() for line in command.out)
    assert command.err[:1] == [
        f"huey-otel: events on 'q' of redis://127.0.0.1:{server.port} {HEARS}"
    ]


def test_on_a_terminal_it_is_a_table(server, admin, tail):
    command = tail(server.url, "--queue", "q", terminal=(80, 24), TZ="UTC")
    command.said(HEARS)

    publish(admin, event(1), event(2, status="lost", error=True))

    assert command.shown(3) == [
        "\x1b[1mtime          event                 task"
        "                     took  try  id\x1b[0m",
        "\x1b[32m11:25:13.638  finished              app.tasks.add"
        "           0.250    1  00000001\x1b[0m",
        "\x1b[31m11:25:13.638  lost                  app.tasks.add"
        "           0.250    1  00000002\x1b[0m",
    ]


def test_colours_may_be_refused(server, admin, tail):
    command = tail(*(server.url, "--queue", "q"), terminal=(20, 24), NO_COLOR="1").said(
        HEARS
    )

    publish(admin, event(1))

    assert command.shown(2) == ["event      task", "finished   …add"]


@pytest.mark.parametrize(
    ("flag", "terminal"), [("--json", (80, 24)), ("--no-json", None)]
)
def test_a_flag_chooses_the_form_for_terminal_and_pipe(
    server, admin, tail, flag, terminal
):
    command = tail(server.url, "--queue", "q", flag, terminal=terminal).said(HEARS)

    publish(admin, event(1))

    (first,) = command.shown(1)
    assert first.startswith('{"status": "finished"') is (flag == "--json")


def test_flags_choose_events_and_jq_takes_what_is_left(server, admin, tail):
    command = tail(server.url, "--queue", "q", "--errors", "--task", "app.*")
    command.said(HEARS)

    failed = event(3, status="error-task", error=True)
    publish(admin, event(1), event(2, error=True, name="web.add"), failed)

    assert [json.loads(line) for line in command.shown(1)] == [failed]
    assert not any("missed" in line for line in command.err)


def test_several_queues_are_heard_at_once_however_huey_spells_them(server, admin, tail):
    command = tail(server.url, "--queue", "my-app", "--queue", "q").said(
        f"events on 'myapp', 'my-app', 'q' of redis://127.0.0.1:{server.port} {HEARS}"
    )

    for number, channel in enumerate(("myapp", "my-app", "q"), 1):
        publish(admin, event(1, publisher=channel), channel=channel)
        command.shown(number)

    heard = [json.loads(line)["publisher"] for line in command.out]
    assert heard == ["myapp", "my-app", "q"]


def test_what_is_missed_is_said(server, admin, tail):
    command = tail(server.url, "--queue", "q").said(HEARS)

    publish(admin, event(1), event(3), event(4), event(17), event(16), event(20))
    command.shown(6)

    wait_to_read(
        lambda: command.told("missed"),
        [
            "huey-otel: 1 event missed",
            "huey-otel: 12 events missed",
            "huey-otel: 1 event missed",
        ],
    )


def test_what_redis_does_not_keep_for_a_command_that_is_stopped_is_said(
    server, admin, tail
):
    admin.config_set("client-output-buffer-limit", "pubsub 32768 32768 0")
    command = tail(server.url, "--queue", "q").said(HEARS)
    publish(admin, event(1))
    command.shown(1)

    command.process.send_signal(signal.SIGSTOP)
    seq = 1
    while admin.pubsub_numsub("q") == [(b"q", 1)]:
        seq += 1
        admin.publish("q", json.dumps(event(seq)))
    command.process.send_signal(signal.SIGCONT)
    command.said("events are heard again")
    publish(admin, event(seq + 1))
    wait_until(lambda: json.loads(command.out[-1])["seq"] == seq + 1)

    wait_until(lambda: bool(command.told("missed")))
    (line,) = command.told("missed")
    missed = int(line.split()[1].replace(",", ""))
    assert missed == seq + 1 - len(command.out) > 0


def test_a_redis_that_goes_and_comes_back_is_said(server, admin, tail):
    command = tail(server.url, "--queue", "q").said(HEARS)
    publish(admin, event(1))
    command.shown(1)
    where = f"'q' at redis://127.0.0.1:{server.port}"

    server.kill()
    command.said(f"no events can be heard on {where}, trying again: ")
    server.start()
    command.said(f"events are heard again on {where}")
    publish(admin, event(14))

    assert [json.loads(line)["seq"] for line in command.shown(2)] == [1, 14]
    command.said("12 events missed")


def test_what_is_no_event_is_skipped_and_said_once(server, admin, tail):
    command = tail(server.url, "--queue", "q").said(HEARS)

    publish(admin, b"\xff", b"[]", b"{}", b'{"status": 1}', b"[" * 100_000, event(1))

    assert [json.loads(line) for line in command.shown(1)] == [event(1)]
    wait_to_read(
        lambda: command.told("no events"),
        ["huey-otel: messages on 'q' that are no events are skipped"],
    )


def test_events_of_other_programs_are_shown(server, admin, tail):
    command = tail(server.url, "--queue", "q").said(HEARS)

    publish(
        admin,
        b'{"status": "started", "task": "queue_task_add", "id": "a"}',
        b'{"status": "done", "duration": NaN, "wait": 1e999}',
    )

    assert [json.loads(line) for line in command.shown(2)] == [
        {"status": "started", "task": "queue_task_add", "id": "a"},
        {"status": "done", "duration": None, "wait": None},
    ]
    wait_to_read(
        lambda: command.told("number"),
        [
            "huey-otel: an event has no number, as those of older versions have none;"
            " how many of such events are missing is not known"
        ],
    )


def test_a_queue_without_keys_is_said_and_heard_all_the_same(server, admin, tail):
    admin.lpush("huey.redis.shop", "message")

    command = tail(server.url, "--queue", "q", "--queue", "shop").said(
        "Redis has no key of a queue 'q': it is idle, or has another name, or is"
        " in another database; huey-otel check says more"
    )
    publish(admin, event(1))

    assert command.shown(1)
    assert len(command.err) == 2


def test_a_queue_with_keys_is_not_said(server, admin, tail):
    admin.lpush("huey.redis.myapp", "message")

    command = tail(server.url, "--queue", "my-app").said(HEARS)
    publish(admin, event(1), channel="my-app")

    command.shown(1)
    assert len(command.err) == 1


def test_a_redis_that_lists_no_keys_is_heard(server, admin, tail):
    admin.execute_command(
        *("ACL", "SETUSER", "feed", "on", ">s3cret", "&*", "+subscribe")
    )

    command = tail(
        *(f"redis://feed@127.0.0.1:{server.port}", "--queue", "q"),
        REDISCLI_AUTH="s3cret",
    ).said(HEARS)
    publish(admin, event(1))

    command.shown(1)
    assert len(command.err) == 1


def ended(command):
    """The exit code of *command*, and what it has said."""
    code = command.ended()
    assert command.out == []
    return code, command.err


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("s3 cret/@:%\n")
    return str(path)


def test_a_password_is_taken_from_a_file_or_the_environment(
    server, admin, tail, password_file
):
    admin.config_set("requirepass", "s3 cret/@:%")

    tail(server.url, "--queue", "q", "--password-file", password_file).said(HEARS)
    tail(server.url, "--queue", "q", REDISCLI_AUTH="s3 cret/@:%").said(HEARS)


def test_the_password_of_the_url_comes_first(server, admin, tail, password_file):
    admin.config_set("requirepass", "right")

    tail(
        *(f"redis://:right@127.0.0.1:{server.port}", "--queue", "q"),
        *("--password-file", password_file),
        REDISCLI_AUTH="wrong",
    ).said(HEARS)


WRONG = {
    "in the URL": ("redis://:s3cret@127.0.0.1:{}/0", {}, "invalid username-password"),
    "of a user": ("redis://me:s3cret@127.0.0.1:{}/0", {}, "invalid username-password"),
    "in the environment": (
        "redis://127.0.0.1:{}",
        {"REDISCLI_AUTH": "s3cret"},
        "invalid username-password",
    ),
    "none": ("redis://127.0.0.1:{}", {}, "uthentication required"),
}


@pytest.mark.parametrize(("url", "environ", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_password_is_an_error_and_is_not_shown(
    server, admin, tail, url, environ, reason
):
    admin.config_set("requirepass", "right")

    code, (line,) = ended(tail(url.format(server.port), "--queue", "q", **environ))

    assert code == 2
    assert line.startswith(f"huey-otel: redis://127.0.0.1:{server.port}: ")
    assert reason in line
    assert "s3cret" not in line


def test_a_redis_that_is_not_there_is_an_error(tail):
    port = free_port()

    code, lines = ended(tail(f"redis://127.0.0.1:{port}", "--queue", "q"))

    assert (code, lines) == (
        2,
        [
            f"huey-otel: redis://127.0.0.1:{port}: Error 111 connecting to"
            f" 127.0.0.1:{port}. Connection refused"
        ],
    )


ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": bytes(range(256)) * 10,
    "an SSH server's": b"SSH-2.0-OpenSSH_9.9\r\n",
    "none": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_server_that_is_no_redis_is_an_error(tail, answer):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def serve():
            while True:
                try:
                    client, _ = other.accept()
                except OSError:
                    return
                with client:
                    client.recv(1_000)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        code, lines = ended(tail(f"redis://127.0.0.1:{port}", "--queue", "q"))
        other.shutdown(socket.SHUT_RDWR)
    thread.join(10)

    assert code == 2
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        f"redis://127.0.0.1:{port}"
    ]


def test_a_server_that_is_silent_is_an_error(tail):
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"redis://127.0.0.1:{other.getsockname()[1]}"
        code, (line,) = ended(tail(url, "--queue", "q"))

    assert code == 2
    assert line.startswith(f"huey-otel: {url}: ")


@pytest.mark.parametrize(
    "events",
    [[event(1), event(2)], [event(1)]],
    ids=["when it writes", "while nothing comes"],
)
def test_a_reader_that_goes_ends_it_silently(server, admin, events):
    line = f"{sys.executable} -m huey_otel tail {server.url} --queue q | head -n 1"
    with subprocess.Popen(
        ["bash", "-c", line + "; echo ${PIPESTATUS[0]}"],
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as both:
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
        publish(admin, *events)
        out, err = both.communicate(timeout=60)

    assert [json.loads(line) for line in out.splitlines()] == [event(1), 141]
    assert [line for line in err.splitlines() if "huey-otel: " not in line] == []


def test_interrupted_it_ends_with_130_and_says_nothing(server, admin, tail):
    command = tail(server.url, "--queue", "q").said("has no key")
    publish(admin, event(1))
    command.shown(1)
    said = list(command.err)

    assert command.interrupt() == 130
    assert (len(command.out), command.err) == (1, said)


def test_the_keys_of_a_terminal_interrupt_it(server, tail):
    command = tail(server.url, "--queue", "q", terminal=(80, 24)).said("has no key")
    said = list(command.err)

    command.press(b"\x03")

    assert command.ended() == 130
    assert (command.out, command.err) == (["^C"], said)


def test_interrupted_while_nothing_reads_it_ends(server, admin):
    with subprocess.Popen(
        [sys.executable, "-m", "huey_otel", "tail", server.url, "--queue", "q"],
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as command:
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
        # Four times what a pipe holds.
        publish(admin, *(event(seq, traceback="x" * 1_000) for seq in range(1, 251)))
        wait_until(lambda: waiting_in(command.stdout) > 50_000)
        command.send_signal(signal.SIGINT)

        assert command.wait(60) == 130


def waiting_in(pipe):
    """The bytes that were written to *pipe* and not read."""
    (number,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return number


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_it_does_without_what_the_shell_has_closed(server, admin, closed):
    line = f"exec {sys.executable} -m huey_otel tail {server.url} --queue q {closed}"
    with subprocess.Popen(
        ["bash", "-c", line],
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
        publish(admin, event(1), event(14))
        if not closed.startswith("1"):
            assert command.stdout.readline()
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60)

    assert command.returncode == 130
    assert b"Traceback" not in err


APP = """
import os
from huey import RedisHuey
from huey_otel import instrument

print("ready")
huey = RedisHuey("my-app", url=os.environ["URL"])

@huey.task()
def add(a, b):
    return a + b

@huey.task()
def fail():
    raise ValueError("a\\x1b[2J\\nb")
"""

WORK = """
import app
for result in app.add(1, 2), app.fail():
    app.huey.execute(app.huey.dequeue())
assert telemetry.flush()
"""


@pytest.fixture
def application(tmp_path, server):
    """Makes the application's module, instrumented by *instrument*."""

    def application(instrument="instrument(huey)"):
        path = tmp_path / "app.py"
        path.write_text(f"{APP}\ntelemetry = {instrument}\n")
        return {"cwd": tmp_path, "URL": server.url}

    return application


def work(where):
    """Run two tasks of the application."""
    subprocess.run(
        [sys.executable, "-c", WORK.replace("telemetry", "app.telemetry")],
        cwd=where["cwd"],
        env=bare_environment() | {"URL": where["URL"]},
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("options", "channel"),
    [("", "myapp"), (", channel='ours'", "ours")],
    ids=["by default", "on a channel of its own"],
)
def test_the_events_of_an_application_are_those_that_it_publishes(
    application, tail, options, channel
):
    where = application(f"instrument(huey{options})")
    command = tail("app.huey", **where).said(f"events on '{channel}' of")

    work(where)

    # What the application prints is not among them.
    assert [
        (one["status"], one["name"]) for one in map(json.loads, command.shown(4))
    ] == [
        *(("started", "app.add"), ("finished", "app.add")),
        *(("started", "app.fail"), ("error-task", "app.fail")),
    ]
    assert command.interrupt() == 130
    assert "ready" in command.err


def test_an_error_is_a_line_of_the_table_that_no_text_breaks(application, tail):
    where = application()
    command = tail("app.huey", "--errors", "--no-json", **where).said(HEARS)

    work(where)

    heading, line, message = command.shown(3)
    assert heading.startswith("time          event                 task")
    assert line[14:52].split() == ["error-task", "app.fail"]
    assert message == r"  ValueError: a\x1b[2J\nb"


NO_EVENTS = {
    "turned off": ("instrument(huey, events=None)", "off, events=None"),
    "no Redis": (
        "instrument(huey := __import__('huey').MemoryHuey())",
        "off, the queue has no Redis; events= or HUEY_OTEL_EVENTS names one",
    ),
}


@pytest.mark.parametrize(("code", "reason"), NO_EVENTS.values(), ids=NO_EVENTS)
def test_an_application_without_events_is_an_error(application, tail, code, reason):
    code, err = ended(tail("app.huey", **application(code)))

    assert (code, err[-1]) == (2, f"huey-otel: 'app.huey': its events are {reason}")


def test_the_environment_names_a_redis_for_an_application(application, tail):
    where = application("(huey := __import__('huey').MemoryHuey('q'))")

    tail("app.huey", HUEY_OTEL_EVENTS=where["URL"], **where).said("events on 'q' of")


def test_an_import_that_fails_has_the_traceback_of_the_application(tmp_path, tail):
    (tmp_path / "app.py").write_text("import broken\n")
    (tmp_path / "broken.py").write_text("\n\n1 / 0, 'redis://:s3cret@cache'\n")

    code, err = ended(tail("app.huey", cwd=tmp_path))

    assert code == 2
    assert [line for line in err if line.startswith("  File")] == [
        f'  File "{tmp_path}/app.py", line 1, in <module>',
        f'  File "{tmp_path}/broken.py", line 3, in <module>',
    ]
    assert err[0] == "Traceback (most recent call last):"
    assert "    1 / 0, 'redis://***@cache'" in err
    assert err[-2:] == [
        "ZeroDivisionError: division by zero",
        "huey-otel: 'app.huey': the application's import failed",
    ]


def test_a_traceback_of_the_application_is_shown_and_not_obeyed(tmp_path, tail):
    (tmp_path / "app.py").write_text("raise ValueError('a\\x1b[2J\\u202e\\n\\tb')\n")

    code, err = ended(tail("app.huey", cwd=tmp_path))

    assert code == 2
    assert err[-3:-1] == [r"ValueError: a\x1b[2J\u202e", "        b"]


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("", "app.huey", "'app.huey': 'app' has no Huey instance 'huey'; it has none"),
        ("", "apps.huey", "'apps.huey': there is no module 'apps' in the current"),
        ("", "app", "'app': expected MODULE.NAME of a Huey instance"),
        ("", "app:huey", "'app:***': expected MODULE.NAME of a Huey instance"),
        ("raise SystemExit(0)", "app.huey", "the application's import failed"),
        ("import nothing_here", "app.huey", "the application's import failed"),
        ("1 +", "app.huey", "the application's import failed"),
    ],
)
def test_a_path_that_leads_to_no_huey_is_an_error(tmp_path, tail, code, target, reason):
    (tmp_path / "app.py").write_text(code)

    code, err = ended(tail(target, cwd=tmp_path))

    assert code == 2
    assert reason in err[-1]
    assert "huey_otel/" not in "".join(err)


SETTINGS = """
import os
INSTALLED_APPS = ["huey.contrib.djhuey", "huey_otel.django"]
HUEY = {"name": "shop", "url": os.environ["URL"], "immediate": False}
HUEY_OTEL = {"channel": "of-django"}
"""


def test_the_queue_of_django_is_found_by_its_settings(tmp_path, server, tail):
    (tmp_path / "settings.py").write_text(SETTINGS)

    tail(
        "huey.contrib.djhuey.HUEY",
        cwd=tmp_path,
        URL=server.url,
        DJANGO_SETTINGS_MODULE="settings",
    ).said("events on 'of-django' of")


def test_an_application_that_gevent_patches_is_heard(application, tail):
    where = application()
    path = where["cwd"] / "app.py"
    patch = "from gevent import monkey\nmonkey.patch_all()\n"
    path.write_text(patch + path.read_text())
    command = tail("app.huey", **where).said(HEARS)

    work(where)

    assert len(command.shown(4)) == 4
    assert command.interrupt() == 130
    # What it patches was not imported before.
    assert "MonkeyPatchWarning" not in str(command.err)


def test_events_of_a_redis_need_no_huey(tmp_path, server, admin, tail):
    for name in ("huey", "opentelemetry", "prometheus_client", "rich"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    path = f"{tmp_path}:{ROOT}"
    command = tail(server.url, "--queue", "q", PYTHONPATH=path).said(HEARS)

    publish(admin, event(1))

    assert [json.loads(line) for line in command.shown(1)] == [event(1)]


def test_an_address_of_a_consumer_has_no_events(tail):
    code, err = ended(tail("localhost:9464"))

    assert (code, err) == (
        2,
        [
            "huey-otel: 'localhost:9464': a consumer's address has no events; expected"
            " an application, or the URL of a Redis"
        ],
    )
