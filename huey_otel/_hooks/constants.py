"""EVENT_* on `huey.consumer`, where huey 1.x had them; imports no huey for that."""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from huey_otel.events import CONSTANTS

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

_MODULE: Final = "huey.consumer"


def offer_constants() -> None:
    """Put them there as far as missing: now, or when the application imports it."""
    module = sys.modules.get(_MODULE)
    if module is None:
        sys.meta_path.insert(0, _Finder())
    else:
        _put(module)


def _put(module: ModuleType) -> None:
    for name, value in CONSTANTS.items():
        if not hasattr(module, name):
            setattr(module, name, value)


class _Finder:
    """Finds `huey.consumer` where Python does, and gives it a loader of ours."""

    def __init__(self) -> None:
        self._finding = False

    def find_spec(self, name: str, *_: object) -> "ModuleSpec | None":
        """The spec of *name*, None for all other modules."""
        if name != _MODULE or self._finding:
            return None
        self._finding = True
        try:
            spec = find_spec(name)
        finally:
            self._finding = False
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Loader(spec.loader))
        return spec


class _Loader:
    """Loads a module as *loader* does, then puts the constants there."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: "ModuleSpec") -> ModuleType | None:
        """The new module, None for Python's default."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Run the code of *module*, which keeps the loader that knows its source."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _put(module)
