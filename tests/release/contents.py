"""What is in the wheel and the sdist, and whether that is what belongs there.

Run by `make package`, with the standard library alone.
"""

import email.message
import email.parser
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RELATIVE = re.compile(r"\]\((?!https?://|mailto:|#)[^)]*|\bsrc(?:set)?=\"(?!https?://)")
"""A link that leads nowhere on PyPI."""


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return found["project"]


def package() -> set[str]:
    """The files of `huey_otel`: its sources, and the mark that they have types."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "huey_otel").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }


def of_wheel(version: str) -> set[str]:
    """What a wheel of *version* has: no tests, no runtime, no docs."""
    info = f"huey_otel-{version}.dist-info"
    return package() | {
        f"{info}/{name}"
        for name in (
            *("METADATA", "WHEEL", "RECORD"),
            *("entry_points.txt", "licenses/LICENSE"),
        )
    }


def of_sdist(version: str) -> set[str]:
    """What an sdist of *version* has: enough to build the wheel, and to read."""
    names = package() | {
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
        *("README.md", "CHANGELOG.md", "LICENSE"),
    }
    return {f"huey_otel-{version}/{name}" for name in names}


def differences(found: Iterable[str], expected: set[str]) -> list[str]:
    """One line for each file that is too much, missing or twice there."""
    names = list(found)
    return [
        *(f"{name} does not belong there" for name in sorted(set(names) - expected)),
        *(f"{name} is missing" for name in sorted(expected - set(names))),
        *(
            f"{name} is there twice"
            for name in sorted(set(names))
            if names.count(name) > 1
        ),
    ]


def wrong_metadata(text: str, declared: dict[str, Any]) -> list[str]:
    """What the metadata *text* says otherwise than *declared*, the table `project`."""
    said: email.message.Message = email.parser.Parser().parsestr(text)
    expected = {
        "Name": [declared["name"]],
        "Version": [declared["version"]],
        "Requires-Python": [declared["requires-python"]],
        "License-Expression": [declared["license"]],
        "License-File": declared["license-files"],
        "Project-URL": [f"{name}, {url}" for name, url in declared["urls"].items()],
        "Description-Content-Type": ["text/markdown"],
    }
    return [
        *(
            f"{name} is {said.get_all(name)}, not {values}"
            for name, values in expected.items()
            if sorted(said.get_all(name, [])) != sorted(values)
        ),
        *(
            f"the description has the link {link!r}, which PyPI cannot follow"
            for link in RELATIVE.findall(str(said.get_payload()))
        ),
    ]


def main(folder: Path) -> None:
    """List what is in both, then say what is wrong."""
    declared = project()
    version = declared["version"]
    wheel = folder / f"huey_otel-{version}-py3-none-any.whl"
    sdist = folder / f"huey_otel-{version}.tar.gz"
    wrong = differences(
        (path.name for path in folder.iterdir()), {wheel.name, sdist.name}
    )
    if wrong:
        sys.exit(f"{folder}: " + "\n".join(wrong))
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
        metadata = archive.read(f"huey_otel-{version}.dist-info/METADATA").decode()
    with tarfile.open(sdist) as tarball:
        in_sdist = [member.name for member in tarball if member.isfile()]
    print(*sorted(in_wheel), "", *sorted(in_sdist), sep="\n")  # noqa: T201
    wrong = [
        *(f"the wheel: {line}" for line in differences(in_wheel, of_wheel(version))),
        *(f"the sdist: {line}" for line in differences(in_sdist, of_sdist(version))),
        *(f"the metadata: {line}" for line in wrong_metadata(metadata, declared)),
    ]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
