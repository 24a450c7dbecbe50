"""The names in docs/names, in the form of OpenTelemetry's weaver, resolved."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.support.programs import ROOT

FILE: Final = ROOT / "docs" / "names" / "huey.yaml"
PLAIN: Final = {"string": str, "int": int, "double": float, "boolean": bool}


class Group(NamedTuple):
    """A span or an event. `attributes` says of each whether it is always there."""

    id: str
    name: str
    kind: str
    attributes: dict[str, bool]


def groups() -> list[dict[str, Any]]:
    """All groups, as the file has them."""
    # The environment with the oldest versions has none, and only collects the tests.
    import yaml

    found: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["groups"]
    return found


def attributes() -> dict[str, Any]:
    """The type of each attribute of ours: a word, or the values that it may have."""
    return {
        one["id"]: _type(one["type"])
        for group in groups()
        for one in group.get("attributes", ())
        if "id" in one
    }


def _type(declared: Any) -> str | list[str]:
    if isinstance(declared, str):
        return declared
    return sorted(member["value"] for member in declared["members"])


def spans() -> dict[str, Group]:
    """The spans, by their kind as OTLP spells it."""
    return {one.kind: one for one in _signals("span")}


def events() -> dict[str, Group]:
    """The log records, by their event's name."""
    return {one.name: one for one in _signals("event")}


def signals() -> dict[str, Group]:
    """Both."""
    return spans() | events()


def _signals(kind: str) -> Iterator[Group]:
    known = {group["id"]: group for group in groups()}
    for group in known.values():
        if group["type"] == kind:
            yield Group(
                group["id"],
                group.get("name", ""),
                group.get("span_kind", "").upper(),
                _resolved(group, known),
            )


def _resolved(group: dict[str, Any], known: dict[str, dict[str, Any]]) -> Any:
    inherited = known[group["extends"]] if "extends" in group else None
    found = {} if inherited is None else _resolved(inherited, known)
    for one in group.get("attributes", ()):
        found[one["ref"]] = one.get("requirement_level") == "required"
    return found
