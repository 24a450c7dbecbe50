"""Entry points: exporters and other parts that installed packages offer by name."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any


@cache
def load_entry_point(group: str, name: str) -> Callable[..., Any]:
    """Load the entry point *name* of *group*; LookupError if there is none."""
    for point in entry_points(group=group, name=name):
        loaded: Callable[..., Any] = point.load()
        return loaded
    raise LookupError(f"{group} has no {name!r}")
