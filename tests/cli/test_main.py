"""The command's frame: help, wrong arguments, and passwords in them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from huey_otel._safety.version import version
from huey_otel.cli.main import COMMANDS, main
from tests.support.programs import ROOT, bare_environment


def run(capsys, *arguments):
    """The exit code, and what was printed."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_an_example(capsys, name):
    code, out, err = run(capsys, name, "--help")

    examples = out.partition("examples:\n")[2].splitlines()
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: huey-otel {name} ")
    assert COMMANDS[name].HELP in out
    assert [one for one in examples if one.startswith(f"  huey-otel {name} ")]


def test_the_help_lists_the_commands(capsys):
    code, out, err = run(capsys, "--help")

    assert (code, err) == (0, "")
    for name, command in COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(command.HELP)[:30]}", out, re.M)


def test_the_version_is_that_of_the_distribution(capsys):
    assert run(capsys, "--version") == (0, f"huey-otel {version()}\n", "")


def run_into(output, *arguments):
    """The exit code with *output* as standard output, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "huey_otel", *arguments],
        cwd=ROOT,
        env=bare_environment(),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


TEXTS = [["--help"], ["--version"], ["tail", "--help"]]


@pytest.mark.parametrize("arguments", TEXTS, ids=str)
def test_a_text_that_no_one_reads_ends_silently(arguments):
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "wb") as output:
        assert run_into(output, *arguments) == (141, "")


def test_a_disk_without_room_is_said():
    with Path("/dev/full").open("wb") as full:
        code, err = run_into(full, "--help")

    assert (code, err) == (2, "huey-otel: [Errno 28] No space left on device\n")


LOAD = """
import sys
before = set(sys.modules)
from pathlib import Path
from huey_otel.cli.main import main
try:
    main(["tail", "--help"])
finally:
    sys.stderr.write("\\n".join(set(sys.modules) - before))
"""


# Coverage itself loads some of it.
@pytest.mark.without_coverage
def test_help_loads_nothing_that_it_does_not_need():
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=60
    )

    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "huey_otel" in loaded
    assert (
        loaded
        & {
            *("django", "google", "grpc", "huey", "opentelemetry"),
            *("prometheus_client", "redis", "rich", "socket", "ssl"),
        }
        == set()
    )


WRONG = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "no such command": (["tial"], "argument COMMAND: invalid choice: 'tial'"),
    "no target": (["tail"], "the following arguments are required: TARGET"),
    "no such flag": (["tail", "a.b", "--until"], "unrecognized arguments: --until"),
    "part of a flag": (["tail", "a.b", "--err"], "unrecognized arguments: --err"),
    "no such status": (
        ["tail", "a.b", "--status", "failed"],
        "argument --status: invalid choice: 'failed'",
    ),
    "an escape": (["tail", "a.b", "\x1b[2J"], r"unrecognized arguments: \x1b[2J"),
}


@pytest.mark.parametrize(("arguments", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named(capsys, arguments, reason):
    code, out, err = run(capsys, *arguments)

    *usage, line = err.splitlines()
    assert (code, out) == (2, "")
    assert usage[0].startswith("usage: huey-otel ")
    assert line.startswith(f"huey-otel: {reason}")


PASSWORDS = [
    ["redis://me:s3cret word@cache"],
    ["tail", "a.b", "redis://:s3cret@cache"],
    ["tail", "a.b", "--redis=redis://:s3cret'\"\\@cache"],
    ["tail", "redis://:s3cret@cache"],
    ["tail", "redis://:s3cret@cache:x", "--queue", "q"],
    ["tail", "redis://cache?password=s3cret&db=x", "--queue", "q"],
    ["tail", "cache:s3cret"],
    ["tail", "a.b", "--password-file", "redis://:s3cret@cache"],
    ["tail", "redis:/:s3cret@cache", "--queue", "q"],
    ["check", "me:s3cret@localhost:1"],
    ["check", "http://me:s3cret@localhost:1/metrics"],
    ["check", "redis://:s3cret/@cache", "--queue", "q"],
]


@pytest.mark.parametrize("arguments", PASSWORDS, ids=str)
def test_a_password_is_never_shown(capsys, arguments):
    code, out, err = run(capsys, *arguments)

    assert (code, out) == (2, "")
    assert "huey-otel: " in err
    assert "s3cret" not in err
    assert " word" not in err
