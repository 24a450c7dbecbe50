"""Writes dashboards/*.json: `python -m grafana.build`.

A test fails if a file is not what this makes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from grafana import consumers, overview, task
from grafana.vocabulary.page import text
from grafana.vocabulary.panels import Json

DIRECTORY: Final = Path(__file__).with_name("dashboards")

DASHBOARDS: Final[Mapping[str, Callable[[], Json]]] = {
    "overview": overview.build,
    "task": task.build,
    "consumers": consumers.build,
}


def main() -> None:
    """Write all files."""
    for name, build in DASHBOARDS.items():
        (DIRECTORY / f"{name}.json").write_text(text(build()))


if __name__ == "__main__":
    main()
