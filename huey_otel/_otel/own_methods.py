"""Methods of the SDK's classes: whether another program has replaced one."""

import sys
from collections.abc import Iterable
from operator import is_
from types import FunctionType

Method = tuple[type, str]
"""A method that a class may have, by its name."""


class Methods:
    """Some methods, and what they were when this was made."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods = [*methods]
        self._known = self._found()

    def _found(self) -> list[object]:
        return [getattr(kind, name, None) for kind, name in self._methods]

    @property
    def have_changed(self) -> bool:
        """Whether one of them is another one by now."""
        return not all(map(is_, self._found(), self._known))


def methods_of(kind: type) -> list[Method]:
    """All methods that *kind* and its bases define."""
    inherited = {*dir(object)} - {"__init__", "__new__"}
    names = [name for name in dir(kind) if name not in inherited]
    return [(kind, name) for name in names if callable(getattr(kind, name))]


def is_own(kind: type, name: str) -> bool:
    """Whether a method of *kind* is from a module of *kind* or its bases."""
    method = getattr(kind, name, None)
    if method is None:
        return True
    modules = [sys.modules.get(base.__module__) for base in kind.__mro__]
    return type(method) is FunctionType and any(
        method.__globals__ is vars(module) for module in modules if module
    )
