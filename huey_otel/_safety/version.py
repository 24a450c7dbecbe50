"""The version of the installed distribution."""

from functools import cache
from importlib import metadata

from huey_otel._names import DISTRIBUTION


@cache
def version() -> str:
    """The version, `unknown` when huey_otel is on the path but not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
