"""What is said of a release: the changelog's section of its tag.

`make release-notes TAG=v0.1.0` prints it, or says why the tag cannot be released.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def notes(tag: str, root: Path = ROOT) -> str:
    """The changelog's section of *tag*; ValueError says what is not ready yet."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    version = pyproject["project"]["version"]
    if tag != f"v{version}":
        msg = f"the tag is {tag!r}, and pyproject.toml has the version {version}"
        raise ValueError(msg)
    waiting = sorted(path.name for path in (root / "changes").glob("+*"))
    if waiting:
        msg = f"not in CHANGELOG.md yet: {', '.join(waiting)}; run `make changelog`"
        raise ValueError(msg)
    changelog = (root / "CHANGELOG.md").read_text()
    if "## [Unreleased]" in changelog:
        msg = "CHANGELOG.md has a section [Unreleased], which belongs to this release"
        raise ValueError(msg)
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if found is None or not found[1].strip():
        msg = f"CHANGELOG.md has no section [{version}] with a date and with entries"
        raise ValueError(msg)
    return found[1].strip()


if __name__ == "__main__":
    try:
        print(notes(*sys.argv[1:2] or [""]))  # noqa: T201
    except ValueError as problem:
        sys.exit(str(problem))
