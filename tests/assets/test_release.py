"""What is released: one version, true metadata, contents and notes that are checked."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release import contents
from tests.release.notes import notes
from tests.support.programs import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
VERSION: str = PROJECT["version"]
GROUPS: dict[str, list[Any]] = PYPROJECT["dependency-groups"]
TYPES = {kind["directory"] for kind in PYPROJECT["tool"]["towncrier"]["type"]}
METADATA = f"""\
Metadata-Version: 2.4
Name: huey-otel
Version: {VERSION}
License-Expression: MIT
License-File: LICENSE
Requires-Python: >=3.11
Description-Content-Type: text/markdown
{"".join(f"Project-URL: {n}, {u}{chr(10)}" for n, u in PROJECT["urls"].items())}
See [events](https://example.org/docs/events.md).
"""


def pinned(group: str) -> dict[str, str]:
    """The exact versions in a dependency group, without those of groups in it."""
    lines = [line.partition("==") for line in GROUPS[group] if isinstance(line, str)]
    return {name.partition("[")[0]: version for name, _, version in lines if version}


def test_the_start_line_in_the_documents_is_that_of_this_version() -> None:
    shown = {
        (path.name, version)
        for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for version in re.findall(r"^huey-otel (\S+) observes$", path.read_text(), re.M)
    }

    assert {version for _, version in shown} == {VERSION}


@pytest.mark.parametrize("document", ["README.md", "docs/start.md", "docs/traces.md"])
def test_what_installs_it_is_the_projects_own_repository(document: str) -> None:
    text = (ROOT / document).read_text()
    asked = re.findall(r"pip install (?:.*huey-otel.* @ )?(git\S+?|huey-\S+)'?\s", text)

    assert asked
    assert set(asked) == {f"git+{PROJECT['urls']['Source']}"}


def test_no_source_has_a_version_of_its_own() -> None:
    with_one = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "huey_otel").rglob("*.py")
        if re.search(r"^_*version_*\s*(:.*)?=\s*[\"']", path.read_text(), re.M | re.I)
    ]

    assert with_one == []


def test_ruff_before_a_commit_is_the_ruff_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    revisions = {
        repository["repo"].rpartition("/")[2]: repository["rev"]
        for repository in config["repos"]
    }

    assert revisions == {"ruff-pre-commit": f"v{pinned('dev')['ruff']}"}


def test_dependabot_leaves_the_lower_bounds_alone() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    (pip,) = [one for one in updates if one["package-ecosystem"] == "pip"]
    ignored = [rule["dependency-name"].replace("*", ".*") for rule in pip["ignore"]]

    exposed = [
        name
        for name in pinned("oldest")
        if not any(re.fullmatch(pattern, name) for pattern in ignored)
    ]

    assert exposed == []


def test_dependabot_knows_where_its_files_are() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    files = {
        "docker": "Dockerfile",
        "docker-compose": "docker-compose.yml",
        "github-actions": ".github/workflows",
        "gomod": "go.mod",
        "pip": "pyproject.toml",
        "pre-commit": ".pre-commit-config.yaml",
    }

    found = {
        one["package-ecosystem"]: ROOT
        / one["directory"].lstrip("/")
        / files[one["package-ecosystem"]]
        for one in updates
    }

    assert found.keys() == files.keys()
    assert [path for path in found.values() if not path.exists()] == []


def test_claimed_pythons_are_those_that_make_versions_runs_everywhere() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (run,) = re.findall(r"^PYTHONS \?= ([\d. ]+)", makefile, re.M)

    claimed = re.findall(r"Python :: (3\.\d+)", str(PROJECT["classifiers"]))

    assert claimed == run.split()


def test_every_entry_of_the_next_changelog_is_well_formed() -> None:
    assert wrong_entries(ROOT / "changes") == []


def wrong_entries(folder: Path) -> list[str]:
    """What towncrier would leave out of the changelog, or print oddly there."""
    name = re.compile(rf"\+[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(sorted(TYPES))})\.md")
    wrong = []
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue
        text = path.read_text()
        if not name.fullmatch(path.name):
            wrong.append(f"{path.name} is not called +NAME.TYPE.md")
        elif not re.fullmatch(r"[^\s#*-].*[.:`)]\n", text, re.S):
            wrong.append(f"{path.name} is not of whole sentences")
        elif max(map(len, text.splitlines())) > 88:
            wrong.append(f"{path.name} has a line of over 88 characters")
    return wrong


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stuck.fixed.md", "It is no longer stuck.\n"),
        ("+stuck.mended.md", "It is no longer stuck.\n"),
        ("+stuck.fixed.txt", "It is no longer stuck.\n"),
        ("+stuck.fixed.md", ""),
        ("+stuck.fixed.md", "- It is no longer stuck.\n"),
        ("+stuck.fixed.md", "### Fixed\n\nIt is no longer stuck.\n"),
        ("+stuck.fixed.md", "It is no longer stuck\n"),
        ("+stuck.fixed.md", f"It is no longer {'very ' * 20}stuck.\n"),
    ],
    ids=["no-plus", "type", "suffix", "empty", "bullet", "heading", "stop", "long"],
)
def test_a_malformed_entry_is_found(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("How to write one\n")
    (tmp_path / "+good.added.md").write_text("The metric `huey_new`\nis new.\n")
    (tmp_path / name).write_text(text)

    assert [line.split()[0] for line in wrong_entries(tmp_path)] == [name]


def test_what_explains_the_entries_has_every_type() -> None:
    text = (ROOT / "changes/README.md").read_text()

    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == TYPES


def test_files_too_many_too_few_and_twice_are_found() -> None:
    expected = contents.of_wheel("1.2.3")
    info = "huey_otel-1.2.3.dist-info"

    found = [*expected - {f"{info}/licenses/LICENSE"}, "tests/a.py", f"{info}/RECORD"]

    assert contents.differences(found, expected) == [
        "tests/a.py does not belong there",
        f"{info}/licenses/LICENSE is missing",
        f"{info}/RECORD is there twice",
    ]


def test_a_wheel_has_the_package_and_an_sdist_what_builds_it() -> None:
    wheel, sdist = contents.of_wheel("1.2.3"), contents.of_sdist("1.2.3")

    outside = {name for name in wheel if not name.startswith("huey_otel/")}
    assert {"huey_otel/__init__.py", "huey_otel/py.typed"} < wheel
    assert {Path(name).parts[0] for name in outside} == {"huey_otel-1.2.3.dist-info"}
    assert {f"huey_otel-1.2.3/{name}" for name in wheel - outside} < sdist
    assert "huey_otel-1.2.3/README.md" in sdist


def test_metadata_as_declared_is_right() -> None:
    assert contents.wrong_metadata(METADATA, PROJECT) == []


@pytest.mark.parametrize(
    ("what", "instead", "wrong"),
    [
        ("License-Expression: MIT\n", "", "License-Expression is None, not ['MIT']"),
        (f"Version: {VERSION}", "Version: 0", "Version is ['0'], not"),
        ("(https://example.org/", "(", "the link '](docs/events.md'"),
        ("See", '<img src="docs/a.svg">', "the link 'src=\"'"),
    ],
    ids=["licence", "version", "link", "picture"],
)
def test_wrong_metadata_is_found(what: str, instead: str, wrong: str) -> None:
    found = contents.wrong_metadata(METADATA.replace(what, instead), PROJECT)

    assert [wrong in line for line in found] == [True]


def repository(folder: Path, changelog: str, *entries: str) -> Path:
    (folder / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    (folder / "changes").mkdir()
    for name in entries:
        (folder / "changes" / name).write_text("It is new.\n")
    return folder


RELEASED = "## [1.2.3] - 2026-01-31\n\n### Added\n\n- It is new.\n\n"


def test_notes_are_the_section_of_the_tag(tmp_path: Path) -> None:
    older = "## [1.2.2] - 2026-01-01\n\n### Added\n\n- It was new.\n"
    root = repository(tmp_path, RELEASED + older, "README.md")

    assert notes("v1.2.3", root) == "### Added\n\n- It is new."


@pytest.mark.parametrize(
    ("tag", "changelog", "entries", "why"),
    [
        ("v1.2.4", RELEASED, (), "pyproject.toml has the version 1.2.3"),
        ("1.2.3", RELEASED, (), "pyproject.toml has the version 1.2.3"),
        ("v1.2.3", RELEASED, ("+new.added.md",), r"\+new.added.md; run `make change"),
        ("v1.2.3", f"## [Unreleased]\n\n{RELEASED}", (), "belongs to this release"),
        ("v1.2.3", "## [1.2.3]\n\n- It is new.\n", (), "no section"),
        ("v1.2.3", "## [1.2.3] - 2026-01-31\n\n## [1.2.2] - ", (), "no section"),
    ],
    ids=["other", "no-v", "entries", "unreleased", "no-date", "nothing"],
)
def test_a_tag_that_is_not_ready_is_refused(
    tag: str, changelog: str, entries: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    root = repository(tmp_path, changelog, *entries)

    with pytest.raises(ValueError, match=why):
        notes(tag, root)
