"""The names on the wire and of settings, and which of an earlier release are gone."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_type_hints

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.table import OPTIONS, VARIABLES
from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from huey_otel._safety.losses import REASONS
from huey_otel.events import CONSTANTS, Event
from tests.support import name_registry
from tests.support.programs import ROOT

Names = dict[str, dict[str, dict[str, Any]]]
"""By their kind and name, what each means. A list has what may be added to."""

FOLDER: Final = Path(__file__).parent
ABOUT: Final = (
    "Names that users rely on: written by `python -m tests.frozen`, once for each"
    " release. docs/compatibility.md says how a name goes. A version that CHANGELOG.md"
    " has no section of, as 0.1.0 at first, is still to come: its file may be written"
    " again."
)
OF_CONVENTIONS: Final = (
    n.CLIENT_SENT_MESSAGES,
    n.CLIENT_OPERATION_DURATION,
    n.CLIENT_CONSUMED_MESSAGES,
    n.PROCESS_DURATION,
)
"""Metrics whose types and attributes OpenTelemetry's conventions say."""


def version() -> str:
    """That of the package, which may be still to come."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def is_released(one: str) -> bool:
    """Whether the changelog has a section of version *one*."""
    return f"\n## [{one}]" in (ROOT / "CHANGELOG.md").read_text()


def releases() -> dict[str, Names]:
    """The names of each version that has a file, the oldest first."""
    found = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    return {one: found[one]["names"] for one in sorted(found, key=parts)}


def parts(one: str) -> tuple[int, ...]:
    """The numbers of a version."""
    return tuple(map(int, one.split(".")))


def current() -> Names:
    """The names that the code has."""
    return {
        "metrics": dict(_metrics()),
        "events": dict(_events()),
        "keys of events": dict(_keys()),
        "spans": {
            one.id: {"kind": kind, "attributes": sorted(one.attributes)}
            for kind, one in name_registry.spans().items()
        },
        "log records": {
            name: {"attributes": sorted(one.attributes)}
            for name, one in name_registry.events().items()
        },
        "attributes": {
            name: {"values" if isinstance(kind, list) else "type": kind}
            for name, kind in name_registry.attributes().items()
        },
        "values of labels": _values(),
        "options": {
            name: {
                "variable": one.variable,
                "standard variable": one.standard,
                "default": one.default_text,
            }
            for name, one in OPTIONS.items()
        },
        "variables": {name: {"option": option} for name, option in VARIABLES.items()},
    }


def _metrics() -> Iterator[tuple[str, dict[str, Any]]]:
    # Another label would break each query that matches series one to one: no list.
    for one in (*CATALOG.values(), *EXPORTER.values()):
        yield one.name, {"type": one.type, "labels": ", ".join(sorted(one.labels))}
    for name in OF_CONVENTIONS:
        yield name, {}


def _events() -> Iterator[tuple[str, dict[str, Any]]]:
    constants = {status: constant for constant, status in CONSTANTS.items()}
    for status, row in mapping.TABLE.items():
        if row.is_event:
            yield (
                status,
                {
                    "constant": constants[status],
                    "published": row.published.value,
                    "severity": row.severity,
                    "keys": sorted(row.extra),
                },
            )


def _keys() -> Iterator[tuple[str, dict[str, Any]]]:
    for key, kind in get_type_hints(Event).items():
        text = kind.__name__ if isinstance(kind, type) else str(kind)
        yield key, {"type": text, "always": key in Event.__required_keys__}


def _values() -> dict[str, dict[str, Any]]:
    def all_of(prefix: str) -> list[str]:
        named = {v for k, v in vars(n).items() if k.startswith(prefix)}
        return sorted(one for one in named if isinstance(one, str))

    kinds = [
        mapping.kind_of_error(status)
        for status, row in mapping.TABLE.items()
        if n.CONSUMER_ERRORS_TOTAL in row.metrics
    ]
    return {
        "outcome": {"values": all_of("OUTCOME_")},
        "origin": {"values": sorted(n.ORIGINS_OF_NEW_WORK)},
        "reason of huey_task_requeues_total": {"values": sorted(n.REASONS_TO_REQUEUE)},
        "reason of huey_worker_restarts_total": {"values": all_of("REASON_")},
        "reason of huey_consumer_stuck": {"values": sorted(n.STUCK_REASONS)},
        "reason of huey_telemetry_dropped_total": {"values": sorted(REASONS)},
        "signal": {"values": all_of("SIGNAL_")},
        "kind": {"values": sorted(kinds)},
        "task that is not known": {"name": n.UNKNOWN_TASK},
        "task past the most": {"name": n.OTHER_TASK},
        "exception past the most": {"name": n.OTHER_EXCEPTION},
    }


def broken(before: Names, now: Names) -> list[str]:
    """Each name that was there *before* and is gone *now*, or means another thing."""
    return [
        f"{kind}: {name} {what}"
        for kind, names in before.items()
        for name, meaning in names.items()
        for what in _differences(meaning, now.get(kind, {}).get(name))
    ]


def _differences(before: dict[str, Any], now: dict[str, Any] | None) -> Iterator[str]:
    if now is None:
        yield "is gone"
        return
    for key, value in before.items():
        if isinstance(value, list):
            gone = [one for one in value if one not in now.get(key, ())]
            if gone:
                yield f"has lost {', '.join(gone)} of its {key}"
        elif key not in now or now[key] != value:
            yield f"has {key} {now.get(key)!r}, and had {value!r}"


def may_break(before: str, now: str) -> bool:
    """Whether version *now* may change names of version *before*."""
    old, new = parts(before), parts(now)
    return old[0] != new[0] or (old[0] == 0 and old[1] != new[1])


def written(one: str, names: Names) -> str:
    """The file of version *one*."""
    told = {"about": ABOUT, "version": one, "names": names}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"
