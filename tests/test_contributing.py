"""CONTRIBUTING's map: its files exist, its packages and threads are all there are."""

import re
import tomllib

from tests.support.programs import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SOURCES = sorted((ROOT / "huey_otel").rglob("*.py"))


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column is called *first*."""
    _, _, rest = TEXT.partition(f"| {first} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_each_file_that_one_is_sent_to_exists():
    named = re.findall(r"`(\w+(?:/\w+)?\.py)`", str(table("where do I change")))

    missing = [path for path in named if not (ROOT / "huey_otel" / path).is_file()]

    assert len(named) > 10
    assert missing == []


def test_a_change_sends_one_to_three_files_at_most():
    sent = {row[0]: row[1].count(".py`") for row in table("where do I change")}

    assert {change for change, files in sent.items() if files > 3} == set()


def test_packages_are_those_of_the_import_contract_in_its_order():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = config["tool"]["importlinter"]["contracts"][0]["layers"]

    listed = re.findall(r"`(\w+)`", str([row[0] for row in table("package")]))

    depth = {
        name: at
        for at, layer in enumerate(contract)
        for name in re.findall(r"\w+", layer)
    }
    assert sorted(listed) == sorted(depth)
    assert [depth[name] for name in listed] == sorted(depth.values())


def test_threads_are_all_that_are_started_here():
    started = {
        name
        for path in SOURCES
        for name in re.findall(r'"(huey-otel-\w+)"', path.read_text())
    }

    listed = re.findall(r"`(huey-otel-\w+)`", str([row[0] for row in table("thread")]))

    assert sorted(listed) == sorted(started)
