"""The Dockerfile: what it is made from, and what it leaves to chance."""

import argparse
import re

import pytest

from huey_otel.cli.exporter import command as exporter_command
from tests.support.image import command, environment, final, stages
from tests.support.programs import ROOT


def test_there_are_three_stages_of_one_pinned_slim_image() -> None:
    (arg,), build, exporter, last = stages()

    assert arg.word == "ARG"
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", arg.rest)
    assert [build[0].rest, exporter[0].rest, last[0].rest] == [
        "python:${PYTHON} AS build",
        "python:${PYTHON} AS exporter",
        "python:${PYTHON}",
    ]


def test_the_image_runs_as_an_unprivileged_user() -> None:
    uid, gid = map(int, final("USER").split(":"))

    assert uid >= 10000
    assert gid >= 10000


def test_last_stage_runs_nothing_and_takes_what_was_built_where_it_was() -> None:
    last = stages()[-1]

    assert "RUN" not in {step.word for step in last}
    copied = [step.rest.split() for step in last if step.word == "COPY"]
    assert copied == [
        ["--from=build", "/opt/venv", "/opt/venv"],
        ["--from=build", "/app", "/app"],
    ]


def test_exporters_image_has_the_wheel_alone_and_runs_the_command() -> None:
    exporter = stages()[2]
    steps = {step.word: step.rest for step in exporter}
    begins = command(steps["ENTRYPOINT"])

    assert [step.rest.split() for step in exporter if step.word == "COPY"] == [
        ["--from=build", "/opt/exporter", "/opt/exporter"]
    ]
    assert "RUN" not in steps
    assert steps["USER"] == final("USER")
    assert begins == ["huey-otel", "exporter", "--host", "0.0.0.0"]
    assert int(steps["EXPOSE"]) == exporter_command.PORT
    assert command(steps["HEALTHCHECK"])[:2] == ["python", "-c"]
    parser = argparse.ArgumentParser()
    exporter_command.add_arguments(parser)
    options = parser.parse_args([*begins[2:], "--redis", "redis://r", "--queue", "a"])
    assert (options.host, options.queue) == ("0.0.0.0", ["a"])


def test_metrics_are_within_reach_of_another_container() -> None:
    assert environment()["HUEY_OTEL_METRICS_HOST"] == "0.0.0.0"
    assert final("EXPOSE") == environment()["HUEY_OTEL_METRICS_PORT"] == "9464"


@pytest.mark.parametrize("word", ["CMD", "HEALTHCHECK"])
def test_no_shell_stands_between_a_signal_and_the_process(word: str) -> None:
    assert command(final(word))[:3] == ["python", "-m", "runtime"]


def test_what_is_copied_exists_and_nothing_else_goes_to_the_engine() -> None:
    copied = {
        source
        for step in stages()[1]
        if step.word == "COPY"
        for source in step.rest.split()[:-1]
    }
    ignored, *rest = (ROOT / ".dockerignore").read_text().split()

    assert all((ROOT / source).exists() for source in copied)
    assert ignored == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied
    assert [line for line in rest if not line.startswith("!")] == ["**/__pycache__"]
