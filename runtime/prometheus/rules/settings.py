"""The settings: the defaults, and what a TOML file of the user's changes in them."""

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.prometheus.rules import patterns
from runtime.prometheus.rules.objectives import Objective, objectives_of

DEFAULTS: Final = Path(__file__).with_name("defaults.toml")

_COMMON: Final = {"enabled": True, "ignore_queues": [], "ignore_tasks": []}
"""What every alert takes, beside what `defaults.toml` has for it."""

_LABEL: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"
_MATCHER: Final = re.compile(
    rf'\s*({_LABEL})\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*")\s*'
)
_ESCAPE: Final = re.compile(
    r'\\(?:[abfnrtv\\"]|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|u[0-9a-fA-F]{4}|(.?))'
)
_SELECTOR: Final = re.compile(rf"\s*({_MATCHER.pattern}(,{_MATCHER.pattern})*,?\s*)?")
# As Prometheus wants it: each unit once, the longest first; and no longer than it can.
_DURATION: Final = re.compile(
    r"0s|(?=.)([1-9]\d{0,3}w)?([1-9]\d{0,4}d)?([1-9]\d{0,5}h)?([1-9]\d{0,6}m)?([1-9]\d{0,7}s)?"
)
_OF_SERIES: Final = (
    *("queue", "task", "consumer", "le", "outcome", "origin", "reason", "signal"),
    *("state", "periodic"),
)
"""The labels by which rules tell series apart; a target has none of them."""

_OF_RULES: Final = ("alertname", "alertstate", "severity", "slo", "window")


class SettingsError(ValueError):
    """A setting that cannot be; the text names it, and what is accepted."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher of a selector, such as `job=~"huey.*"`."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The settings of one alert; `limits` are the numbers and times of its own."""

    enabled: bool
    holds_for: str
    severity: str
    ignore_queues: tuple[str, ...]
    ignore_tasks: tuple[str, ...]
    limits: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked."""

    selector: tuple[Matcher, ...]
    grouping: tuple[str, ...]
    targets: tuple[Matcher, ...]
    expected: tuple[tuple[Matcher, ...], ...]
    producers: tuple[Matcher, ...]
    ignore_queues: tuple[str, ...]
    ignore_tasks: tuple[str, ...]
    runbook_url: str
    dashboard_url: str
    service: str
    labels: Mapping[str, str]
    alerts: Mapping[str, AlertSettings]
    objectives: tuple[Objective, ...]


def read(path: Path | None = None) -> Settings:
    """The settings in the TOML file at *path*; without one, the defaults.

    Raises SettingsError for whatever is not understood.
    """
    try:
        # Some editors begin a file with a mark of its encoding.
        return settings_of(path.read_text("utf-8-sig") if path else "")
    except UnicodeDecodeError as error:
        raise SettingsError(f"this is not UTF-8: {error}") from error


def settings_of(text: str) -> Settings:
    """Likewise, of the *text* of such a file."""
    defaults = tomllib.loads(DEFAULTS.read_text())
    for alert in defaults["alerts"].values():
        alert.update(_COMMON)
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"this is not TOML: {error}") from error
    slo = given.pop("slo", [])
    labels = given.pop("labels", {})
    found = _merged(defaults, given, "")
    buckets = found["wait_buckets"]
    try:
        objectives = objectives_of(slo, buckets)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    grouping = _grouping(found["grouping"])
    selector = _matchers("selector", found["selector"])
    return Settings(
        selector=selector,
        grouping=grouping,
        targets=_some("targets", found["targets"], selector),
        expected=tuple(_some("expected", one, selector) for one in found["expected"]),
        producers=_matchers("producers", found["producers"]),
        ignore_queues=_patterns("ignore_queues", found["ignore_queues"]),
        ignore_tasks=_patterns("ignore_tasks", found["ignore_tasks"]),
        runbook_url=_url("runbook_url", found["runbook_url"]),
        dashboard_url=found["dashboard_url"]
        and _url("dashboard_url", found["dashboard_url"]),
        service=_service(found["service"]),
        labels=_labels(labels, grouping),
        alerts={name: _alert(name, one) for name, one in found["alerts"].items()},
        objectives=objectives,
    )


def _merged(defaults: dict[str, Any], given: Any, path: str) -> dict[str, Any]:
    """*defaults*, with what is *given* in their place. Keys and types are theirs."""
    if not isinstance(given, dict):
        raise SettingsError(f"{path} = {given!r}: expected a table, [{path}]")
    merged = dict(defaults)
    for key, value in given.items():
        name = f"{path}.{key}" if path else key
        if key not in defaults:
            raise SettingsError(
                f"unknown setting {name}; {path or 'the file'} takes"
                f" {', '.join([*defaults, *([] if path else ['slo'])])}"
            )
        default = defaults[key]
        merged[key] = (
            _merged(default, value, name)
            if isinstance(default, dict)
            else _typed(name, value, default)
        )
    return merged


def _typed(name: str, value: Any, default: Any) -> Any:
    """*value*, which must be of the type that *default* has."""
    match default:
        case bool():
            kind, good = "true or false", isinstance(value, bool)
        case int() | float():
            kind, good = "a number of 0 or more", _is_number(value)
        case str():
            kind, good = "a string", isinstance(value, str)
        case _ if name == "wait_buckets":
            kind = "a list of numbers above 0, in order"
            good = isinstance(value, list) and all(map(_is_number, value))
            good = good and value == sorted(set(value)) and all(value)
        case _:
            kind = "a list of strings"
            good = isinstance(value, list) and all(isinstance(x, str) for x in value)
    if not good:
        raise SettingsError(f"{name} = {value!r}: expected {kind}")
    return value


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < float("inf")


def _alert(name: str, found: dict[str, Any]) -> AlertSettings:
    path = f"alerts.{name}"
    limits = {
        key: value
        for key, value in found.items()
        if key not in (*_COMMON, "for", "severity")
    }
    for key in ("for", "window", "after"):
        if key in found and not _DURATION.fullmatch(found[key]):
            raise SettingsError(
                f'{path}.{key} = {found[key]!r}: expected a duration, such as "90s",'
                ' "10m" or "1h30m"'
            )
    for key in ("window", "after"):
        if found.get(key) == "0s":
            raise SettingsError(f"{path}.{key} = '0s': expected a duration above 0")
    if limits.get("ratio", 0) > 1:
        raise SettingsError(f"{path}.ratio = {limits['ratio']}: expected 0 to 1")
    if not re.fullmatch(r"[^{}]+", found["severity"]):
        raise SettingsError(
            f"{path}.severity = {found['severity']!r}: expected a word, such as warning"
        )
    return AlertSettings(
        enabled=found["enabled"],
        holds_for=found["for"],
        severity=found["severity"],
        ignore_queues=_patterns(f"{path}.ignore_queues", found["ignore_queues"]),
        ignore_tasks=_patterns(f"{path}.ignore_tasks", found["ignore_tasks"]),
        limits=limits,
    )


def _matchers(name: str, text: str) -> tuple[Matcher, ...]:
    if not _SELECTOR.fullmatch(text):
        raise SettingsError(
            f"{name} = {text!r}: expected matchers with commas between them, such as"
            ' \'job=~"huey.*", namespace="prod"\''
        )
    found = _MATCHER.findall(text)
    for label, sign, value in found:
        if label in _OF_SERIES or label.startswith("__"):
            raise SettingsError(
                f"{name} = {text!r}: targets have no label {label}; expected labels"
                " such as job and namespace (for queues and tasks see ignore_queues and"
                " ignore_tasks)"
            )
        if any(unknown[1] is not None for unknown in _ESCAPE.finditer(value)):
            raise SettingsError(
                f"{name} = {text!r}: expected each backslash of a regular expression"
                r' twice, as PromQL has it, such as job=~"a\\.b"'
            )
        if "~" in sign:
            _pattern(name, text, ast.literal_eval(value))
    return tuple(
        Matcher(label, f"{label}{sign}{value}") for label, sign, value in found
    )


def _some(name: str, text: str, selector: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    """Matchers of `up`, which together with the selector must not be of all targets."""
    found = _matchers(name, text)
    if not found and not selector:
        raise SettingsError(
            f"{name} = {text!r}: without a selector this would be every target of"
            " Prometheus; expected matchers, such as 'job=~\"huey.*\"'"
        )
    return found


def _grouping(labels: list[str]) -> tuple[str, ...]:
    for label in labels:
        taken = (*_OF_SERIES, *_OF_RULES, "instance")
        if not _is_label(label) or label in taken:
            raise SettingsError(
                f"grouping = {labels!r}: {label!r} tells no environments apart;"
                " expected labels of targets, such as job and namespace"
            )
    if len(set(labels)) < len(labels):
        raise SettingsError(f"grouping = {labels!r}: a label is there twice")
    return tuple(labels)


def _patterns(name: str, given: list[str]) -> tuple[str, ...]:
    for pattern in given:
        _pattern(name, given, pattern)
    return tuple(given)


def _pattern(name: str, given: Any, pattern: str) -> None:
    try:
        patterns.check(pattern)
    except ValueError as error:
        raise SettingsError(
            f"{name} = {given!r}: {pattern!r} is no regular expression: {error}"
        ) from error


def _url(name: str, text: str) -> str:
    if not re.fullmatch(r"https?://[^\s\"{}?#]+", text):
        raise SettingsError(
            f"{name} = {text!r}: expected an absolute http(s) URL without ? and #,"
            " as these follow"
        )
    return text.rstrip("/")


def _service(text: str) -> str:
    if not text:
        raise SettingsError("service = '': expected a name, such as huey")
    return text


def _is_label(name: str) -> bool:
    return re.fullmatch(_LABEL, name) is not None and not name.startswith("__")


def _labels(given: Any, grouping: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(given, dict):
        raise SettingsError(f"labels = {given!r}: expected a table, [labels]")
    for name, value in given.items():
        if not _is_label(name) or not isinstance(value, str):
            raise SettingsError(
                f"labels.{name} = {value!r}: expected the name of a label and a string"
            )
        taken = (*grouping, "instance", *_OF_SERIES, *_OF_RULES)
        if name in taken:
            raise SettingsError(
                f"labels.{name} = {value!r}: alerts have this label of their own;"
                f" expected any but {', '.join(taken)}"
            )
    return given
