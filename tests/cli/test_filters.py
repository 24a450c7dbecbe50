"""The flags that choose events."""

import argparse

import pytest

from huey_otel.cli.filters import Filters, add_arguments

EVENTS = [
    {"status": "checking-periodic", "error": False, "id": None, "name": None}
    | {"task": None, "worker": "Scheduler"},
    {"status": "started", "error": False, "id": "ab12-1", "name": "app.mail.send"}
    | {"task": "send", "worker": "Worker-1", "trace_id": "4bf9"},
    {"status": "error-task", "error": True, "id": "ab12-1", "name": "app.mail.send"}
    | {"task": "send", "worker": "Worker-1", "trace_id": "4bf9"},
    {"status": "finished", "error": False, "id": "cd34-2", "name": "app.add"}
    | {"task": "add", "worker": "Worker-12"},
    # Another program's, and one of huey 1.x.
    {"status": "finished", "id": 7, "name": ["app.add"], "task": {}, "worker": None},
    {"status": "finished", "id": "ef56-3", "task": "add"},
]


def taken(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    wanted = Filters(parser.parse_args(arguments))
    return [number for number, event in enumerate(EVENTS) if wanted.take(event)]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        (["--errors"], [2]),
        (["--task", "send"], [1, 2]),
        (["--task", "app.mail.*"], [1, 2]),
        (["--task", "*add"], [3, 5]),
        (["--task", "APP.*"], []),
        (["--task", "add", "--task", "send"], [1, 2, 3, 5]),
        (["--status", "finished"], [3, 4, 5]),
        (["--status", "finished", "--status", "started"], [1, 3, 4, 5]),
        (["--worker", "Worker-1"], [1, 2]),
        (["--worker", "Worker-*"], [1, 2, 3]),
        (["--id", "ab12-1"], [1, 2]),
        (["--id", "cd3"], [3]),
        (["--trace", "4b"], [1, 2]),
        (["--task", "send", "--status", "finished"], []),
        (["--task", "send", "--errors", "--id", "ab"], [2]),
    ],
    ids=str,
)
def test_events_are_taken_that_all_flags_allow(arguments, numbers):
    assert taken(*arguments) == numbers


def test_a_status_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit):
        taken("--status", "failed")

    assert "'error-task'" in capsys.readouterr().err
