"""Names that users rely on stay: in queries, alerts, readers and settings."""

import copy
import itertools
import json

import pytest

from tests.frozen import names
from tests.frozen.names import broken, current, may_break, parts, releases, version

WHAT_TO_DO = """\
Users have these names of {version} in their queries, alerts, readers and settings:

  {broken}

Give the name back. If it has to go, docs/compatibility.md says how ("Names that stay"):
keep it beside the new one for a release, and say so in changes/ as `deprecated`.
Then raise the version's second number, write `python -m tests.frozen`, and say it in
changes/ as `changed` or `removed`."""
NOT_RELEASED = """

{version} is not released yet. Until then a name may still become a better one: write
its file again with `python -m tests.frozen`, and say it in changes/ as `changed`."""


def test_each_name_of_the_last_release_still_means_the_same() -> None:
    last, frozen = [*releases().items()][-1]

    found = broken(frozen, current())

    if found:
        advice = WHAT_TO_DO if names.is_released(last) else WHAT_TO_DO + NOT_RELEASED
        pytest.fail(advice.format(version=last, broken="\n  ".join(found)))


def test_a_version_has_its_names_frozen() -> None:
    """`python -m tests.frozen` writes them when the version has been raised."""
    assert version() in releases()
    assert parts(version()) == max(map(parts, releases()))


def test_only_a_version_that_may_break_names_does() -> None:
    wrong = [
        (old, new, broken(releases()[old], releases()[new]))
        for old, new in itertools.pairwise(releases())
        if not may_break(old, new)
    ]

    assert [one for one in wrong if one[2]] == []


def test_a_file_is_as_it_would_be_written() -> None:
    for one, found in releases().items():
        path = names.FOLDER / f"{one}.json"
        assert path.read_text() == names.written(one, found)


def test_a_name_may_be_added() -> None:
    now = copy.deepcopy(current())
    now["metrics"]["huey_new_total"] = {"type": "counter", "labels": "queue"}
    now["events"]["started"]["keys"].append("new")
    now["new kind"] = {}

    assert broken(current(), now) == []


@pytest.mark.parametrize(
    ("kind", "name", "changed", "said"),
    [
        ("metrics", "huey_queue_length", None, "is gone"),
        (
            "metrics",
            "huey_queue_length",
            {"type": "counter"},
            "has type 'counter', and had 'gauge'",
        ),
        (
            "metrics",
            "huey_queue_length",
            {"labels": "queue, worker"},
            "has labels 'queue, worker', and had 'queue'",
        ),
        ("events", "started", {"keys": []}, "has lost wait of its keys"),
        (
            "keys of events",
            "seq",
            {"type": "str"},
            "has type 'str', and had 'int'",
        ),
        (
            "attributes",
            "huey.link",
            {"values": ["retry"]},
            "has lost member of its values",
        ),
        ("options", "stuck_after", {"default": "5"}, "has default '5', and had '600'"),
        ("variables", "HUEY_OTEL_EVENTS", None, "is gone"),
    ],
)
def test_a_name_that_goes_or_changes_is_told(
    kind: str, name: str, changed: dict[str, object] | None, said: str
) -> None:
    now = copy.deepcopy(current())
    if changed is None:
        del now[kind][name]
    else:
        now[kind][name] |= changed

    assert broken(current(), now) == [f"{kind}: {name} {said}"]


def test_the_second_number_is_for_broken_names_before_the_first_is_1() -> None:
    assert may_break("0.1.0", "0.2.0")
    assert not may_break("0.1.0", "0.1.1")
    assert may_break("1.2.0", "2.0.0")
    assert not may_break("1.2.0", "1.3.0")


def test_names_are_words_that_json_keeps() -> None:
    assert json.loads(json.dumps(current())) == current()
