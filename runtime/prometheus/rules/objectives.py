"""Objectives, as the settings give them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.prometheus.rules import patterns

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str,
    "queue": str,
    "task": str,
    "objective": (int, float),
    "wait_seconds": (int, float),
    "events": int,
}
_NEEDED: Final = ("name", "queue", "objective")
_EVENTS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """That *objective* per cent do not fail, or wait at most *wait_seconds*.

    *queue* and *task* are regular expressions of whole names. Without *task* it is
    about each queue as a whole, else about each task. With fewer than *events* in the
    long window no alert fires.
    """

    name: str
    queue: str
    task: str | None
    objective: float
    wait_seconds: float | None
    events: int

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return round(1 - self.objective / 100, 12)


def objectives_of(given: Any, wait_buckets: Sequence[float]) -> tuple[Objective, ...]:
    """The objectives *given* as [[slo]]; ValueError for what is not understood."""
    if not isinstance(given, list):
        raise ValueError(f"slo = {given!r}: expected tables, [[slo]]")
    found = tuple(_objective(one, wait_buckets) for one in given)
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"slo {name}: this name is there twice")
    return found


def _objective(given: Any, wait_buckets: Sequence[float]) -> Objective:
    if not isinstance(given, dict):
        raise ValueError(f"slo = {given!r}: expected a table, [[slo]]")
    path = f"slo {given.get('name', '')}".rstrip()
    for key, value in given.items():
        if key not in _TYPES:
            raise ValueError(
                f"unknown setting {key} of {path}; it takes {', '.join(_TYPES)}"
            )
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            kind = "a string" if _TYPES[key] is str else "a number"
            raise ValueError(f"{path}: {key} = {value!r}: expected {kind}")
    for key in _NEEDED:
        if key not in given:
            raise ValueError(f"{path}: {key} is missing")
    _check(path, given, wait_buckets)
    wait = given.get("wait_seconds")
    return Objective(
        name=given["name"],
        queue=given["queue"],
        task=given.get("task"),
        objective=float(given["objective"]),
        wait_seconds=None if wait is None else float(wait),
        events=given.get("events", _EVENTS),
    )


def _check(path: str, given: dict[str, Any], wait_buckets: Sequence[float]) -> None:
    if not _NAME.fullmatch(given["name"]):
        raise ValueError(
            f"{path}: name = {given['name']!r}: expected small letters, digits and"
            " single hyphens, such as payments-start"
        )
    if not 50 <= given["objective"] < 100:
        raise ValueError(
            f"{path}: objective = {given['objective']}: expected per cent,"
            " from 50 to less than 100"
        )
    if given.get("events", _EVENTS) < 1:
        raise ValueError(f"{path}: events = {given['events']}: expected 1 or more")
    wait = given.get("wait_seconds")
    if wait is not None and wait not in wait_buckets:
        raise ValueError(
            f"{path}: wait_seconds = {wait}: expected one of the buckets,"
            f" {', '.join(f'{one:g}' for one in wait_buckets)}"
        )
    for key in ("queue", "task"):
        try:
            patterns.check(given.get(key, ""))
        except ValueError as error:
            raise ValueError(
                f"{path}: {key} = {given[key]!r}: no regular expression: {error}"
            ) from error
