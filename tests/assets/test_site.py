"""The documents as a site: `make site` builds it, and its warnings are errors."""

import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import huey_otel
from tests.support.programs import ROOT, missing

DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/huey-otel/huey-otel"
WRITTEN = [
    *ROOT.glob("*.md"),
    *(ROOT / "changes").glob("*.md"),
    *DOCS.glob("*.md"),
    *(DOCS / "upstream").glob("*.md"),
]


def prose(path: Path) -> str:
    """The text of *path* without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(path: Path) -> Iterator[str]:
    """Where *path* leads within the repository."""
    text = re.sub(r"`[^`]*`", "", prose(path))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(path: Path) -> set[str]:
    """Those that GitHub gives the headings of *path*."""
    found: Counter[str] = Counter()
    result = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(path), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        result.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return result


def dead(path: Path) -> Iterator[str]:
    """The links of *path* that lead nowhere on GitHub."""
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        checked = anchor if target.suffix == ".md" else ""
        if not target.exists() or (checked and checked not in anchors(target)):
            yield link


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(path: Path) -> None:
    assert list(dead(path)) == []


def test_the_accepted_versions_are_those_of_the_package() -> None:
    page = (DOCS / "compatibility.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [f"Python{project['requires-python']}", *project["dependencies"]]
    lowest = {}
    for one in asked:
        name, _, rest = one.partition(">=")
        lowest[name] = rest.partition(",")[0]

    told = {
        name: version
        for names, version in re.findall(
            r"^\| ([^|]+) \| (\S+) and newer", page, re.MULTILINE
        )
        for name in names.split(", ")
    }

    assert told.pop("if you use it") == "4.2"
    del told["Django"]
    assert told == lowest


def test_each_page_is_once_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text()
    entries = [
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]

    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}

    assert sorted(entries) == sorted(pages)


def test_a_strangers_questions_lead_to_their_answers() -> None:
    """In one click each; what is not here is in the table of contents beside it."""
    index = (DOCS / "index.md").read_text()
    rows = re.findall(r"^\| (.+\?.*) \| (.+) \|$", index, re.MULTILINE)

    assert len(rows) >= 10
    assert [question for question, answer in rows if "](" not in answer] == []


def test_each_public_name_is_in_the_reference() -> None:
    reference = (DOCS / "api.md").read_text()
    shown = re.findall(r"\.\. auto\w+:: (\S+)", reference)

    public = {f"huey_otel.{name}" for name in huey_otel.__all__}
    assert public - {"huey_otel.events"} <= set(shown)
    assert [name for name in shown if "._" in name] == []


@pytest.fixture
def sphinx() -> Path:
    program = ROOT / ".venv-docs" / "bin" / "sphinx-build"
    if not program.exists():
        missing("sphinx-build in .venv-docs, which `make site` makes")
    return program


def built(sphinx: Path, page: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Build a site of one *page*, in the folder docs of the repository *root*."""
    (root / "docs").mkdir()
    (root / "docs" / "index.md").write_text(f"# Page\n\n{page}\n")
    return subprocess.run(
        [
            *(sphinx, "--quiet", "--fail-on-warning", "--keep-going"),
            *("--conf-dir", DOCS, root / "docs", root / "site"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_leads_to_github_for_files_that_are_no_pages(
    sphinx: Path, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    for name in ("src/a.py", "OTHER.md"):
        (tmp_path / name).touch()
    page = "[`a`](../src/a.py) [folder](../src) [other](../OTHER.md#part)"

    done = built(sphinx, page, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    site = (tmp_path / "site" / "index.html").read_text()
    main = re.search(r"<article.*?</article>", site, re.DOTALL)
    assert main is not None
    assert re.findall(rf'href="{REPOSITORY}/([^"]+)"', main[0]) == [
        "blob/main/src/a.py",
        "tree/main/src",
        "blob/main/OTHER.md#part",
    ]


@pytest.mark.parametrize(
    "link", ["nowhere.md", "../nowhere", "index.md#nowhere", "#nowhere", "../../etc"]
)
def test_a_dead_link_fails_the_site(link: str, sphinx: Path, tmp_path: Path) -> None:
    done = built(sphinx, f"[text]({link})", tmp_path)

    assert done.returncode == 1
    assert "myst.xref_missing" in done.stderr
