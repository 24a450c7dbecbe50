"""The application: its module is imported, and its huey found by a dotted path."""

import os
import sys
from typing import TYPE_CHECKING, Any

from huey_otel._safety.redaction import shown

if TYPE_CHECKING:
    from huey import Huey


class NoHueyError(Exception):
    """There is no huey at a path; the text says what there is, or what is accepted."""


def is_path(text: str) -> bool:
    """Whether *text* can be MODULE.NAME."""
    return "." in text and all(map(str.isidentifier, text.split(".")))


def find_huey(path: str) -> "Huey":
    """Import the Huey instance at *path*, such as ``app.queue.huey``.

    Raises NoHueyError, and what the import of the application's module raises.
    """
    module_name, _dot, name = path.rpartition(".")
    if not is_path(path):
        raise NoHueyError(
            f"{shown(path)}: expected the path of a Huey instance, MODULE.NAME,"
            " such as app.huey"
        )
    # As huey's own consumer, which a script of its own runs as well.
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109 - a text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - likewise
    try:
        # Not import_module, whose frames would be in the application's traceback.
        __import__(module_name)
    except ModuleNotFoundError as error:
        # Otherwise an import inside that module has failed.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise NoHueyError(
            f"{path!r}: there is no module {error.name!r} in the current directory"
            " or on the Python path"
        ) from None
    # Only now: huey imports redis and ssl, which gevent wants to patch before.
    from huey import Huey

    module = sys.modules[module_name]
    hueys = [key for key, value in vars(module).items() if isinstance(value, Huey)]
    found: Any = getattr(module, name, None)
    if not isinstance(found, Huey):
        raise NoHueyError(
            f"{path!r}: {module_name!r} has no Huey instance {name!r};"
            f" it has {', '.join(sorted(hueys)) or 'none'}"
        )
    return found
