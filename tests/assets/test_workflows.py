"""GitHub's workflows: what rots without a run, or would be seen too late in one."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.programs import ROOT

PATHS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXTS = {path.name: path.read_text() for path in PATHS}
# YAML 1.1, which PyYAML reads, takes the key `on` for True.
WORKFLOWS: dict[str, Any] = {
    name: yaml.safe_load(text.replace("\non:", "\n'on':"))
    for name, text in TEXTS.items()
}
TARGETS = set(
    re.findall(
        r"^([a-z][-\w]*)(?:: (?!\S+ :?=)|:$)", (ROOT / "Makefile").read_text(), re.M
    )
)


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, workflow in WORKFLOWS.items():
        for job in workflow["jobs"].values():
            for step in job.get("steps", ()):
                yield name, step


def test_every_action_is_pinned_by_the_hash_of_one_named_version() -> None:
    pins = defaultdict(set)
    for text in TEXTS.values():
        for line in re.findall(r"\buses: (?!\./)(.*)", text):
            pin = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert pin is not None, line
            pins[pin[1]].add((pin[2], pin[3]))

    assert "pypa/gh-action-pypi-publish" in pins
    assert {action for action, versions in pins.items() if len(versions) > 1} == set()


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_permitted_but_what_a_job_asks_for(name: str) -> None:
    workflow = WORKFLOWS[name]

    assert workflow["permissions"] == {}
    assert {job for job, at in workflow["jobs"].items() if "permissions" not in at} == (
        set()
    )


def test_no_checkout_leaves_credentials_behind() -> None:
    checkouts = [
        step
        for _, step in steps()
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert len(checkouts) > 2
    assert {str(step.get("with")) for step in checkouts} == {
        "{'persist-credentials': False}"
    }


def test_only_the_protected_environment_publishes() -> None:
    jobs = WORKFLOWS["release.yml"]["jobs"]

    publishing = {
        name for name, job in jobs.items() if "pypi-publish" in str(job.get("steps"))
    }

    assert publishing == {"publish"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["needs"] == "attest"
    assert set(jobs["attest"]["needs"]) == {"test", "build"}


def test_every_target_that_a_workflow_makes_exists() -> None:
    made = {
        target
        for _, step in steps()
        for target in re.findall(
            r"(?:\bmake|\.ci/run) ([a-z][-\w]*)", step.get("run", "")
        )
    }

    assert {"release-check", "release-notes", "versions", "workflows"} <= made
    assert made - TARGETS == set()


def test_every_python_that_a_workflow_takes_has_hueys_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "classifiers"
    ]
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    pythons = {"3.11", *jobs["versions"]["strategy"]["matrix"]["python"]}

    assert pythons == set(re.findall(r"^HUEYS_(\S+) :=", makefile, re.M))
    unseen = pythons - set(re.findall(r"Python :: (3\.\d+)", str(classifiers)))
    assert jobs["versions"].get("continue-on-error", "") == " || ".join(
        f"${{{{ matrix.python == '{python}' }}}}" for python in sorted(unseen)
    )


def test_files_of_a_release_are_where_the_release_check_leaves_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = TEXTS["release.yml"]

    assert "build/sbom.cdx.json" in makefile
    assert set(re.findall(r"build/[\w.]+", text)) == {
        *("build/notes.md", "build/sbom.cdx.json")
    }
