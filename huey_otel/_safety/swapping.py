"""Class swaps: give one object another class, and put its own back."""

from typing import Any, Final

BASE: Final = "_huey_otel_base"
"""Where a class that `swap` has made has the class below it."""


def swap(
    thing: Any, mixin: type, *more: type, below: bool = False, **attributes: Any
) -> None:
    """Give *thing* a subclass of its class and *mixin* and *more*, unless it has one.

    *below* puts the mixin behind the class in the order of methods. The new class is
    this thing's alone, so *attributes* go there. It keeps the old one's names, which
    other programs read.
    """
    kind = type(thing)
    if issubclass(kind, mixin):
        return
    bases: tuple[type, ...] = (kind, mixin) if below else (mixin, *more, kind)
    if issubclass(mixin, kind):
        bases = (mixin, *more)
    namespace: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        BASE: kind,
        **attributes,
    }
    metaclass: Any = type(kind)
    thing.__class__ = metaclass(kind.__name__, bases, namespace)


def put_back(thing: Any) -> None:
    """Undo `swap`, unless another program has swapped the class since."""
    kind = vars(type(thing)).get(BASE)
    if kind is not None:
        thing.__class__ = kind


def class_below(thing: Any) -> type:
    """The class that *thing* had before `swap`, or has if there was none."""
    kind: type = getattr(type(thing), BASE, type(thing))
    return kind
