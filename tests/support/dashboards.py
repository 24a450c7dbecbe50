"""Grafana's dashboards as their files have them, and their queries filled in."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.programs import ROOT

Json = dict[str, Any]

FOLDER = ROOT / "grafana" / "dashboards"
NAMES = ("overview", "task", "consumers")
DASHBOARDS: dict[str, Json] = {
    name: json.loads((FOLDER / f"{name}.json").read_text()) for name in NAMES
}


class Query(NamedTuple):
    """A query, by the file of its dashboard, its panel's title and its letter."""

    dashboard: str
    panel: str
    ref: str = "A"

    @property
    def target(self) -> Json:
        return _TARGETS[self]

    def text(
        self, *, seconds: float = 300, rate: float | None = None, **chosen: str
    ) -> str:
        """The query with its variables filled in, see `filled`."""
        return filled(self.target["expr"], seconds=seconds, rate=rate, **chosen)


def panels(dashboard: str) -> Iterator[Json]:
    """The panels that ask for something."""
    return (one for one in DASHBOARDS[dashboard]["panels"] if one["type"] != "row")


_TARGETS = {
    Query(name, panel["title"], target["refId"]): target
    for name in NAMES
    for panel in panels(name)
    for target in panel["targets"]
}
QUERIES = tuple(_TARGETS)


def filled(
    expr: str, *, seconds: float = 300, rate: float | None = None, **chosen: str
) -> str:
    """*expr* with its variables filled in; those that are not *chosen* are All.

    *seconds* is the time shown, *rate* that of a rate, by default the same.
    """
    whole, interval = (
        round(each * 1000) for each in (seconds, seconds if rate is None else rate)
    )
    values: Mapping[str, str] = {
        "__rate_interval_ms": str(interval),
        "__rate_interval": f"{interval}ms",
        "__interval_ms": str(whole // 30),
        "__interval": f"{whole // 30}ms",
        "__range_s": str(whole / 1000),
        "__range": f"{whole}ms",
        **dict.fromkeys(("job", "namespace", "queue", "task"), ".*"),
        **dict.fromkeys(("instance", "consumer"), ".*"),
        **chosen,
    }
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${name}", values[name])
    return expr
