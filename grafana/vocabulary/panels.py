"""The panels: a tile, lines, areas, bars, a heatmap and a timeline of states."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from grafana.vocabulary.meaning import (
    COUNT,
    DASH,
    NEUTRAL,
    PER_SECOND,
    SECONDS,
    coloured,
    named,
    thresholds,
    word_for_nan,
)
from grafana.vocabulary.promql import NOT_KNOWN

Json = dict[str, Any]
Panel = dict[str, Any]

SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
FULL_WIDTH: Final = 24


class At(NamedTuple):
    """Where a panel is on Grafana's grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


def query(expr: str, legend: str = "", *, exemplars: bool = False) -> Json:
    """Ask for the time shown."""
    return {
        "expr": expr,
        "legendFormat": legend or "__auto",
        "range": True,
        "instant": False,
        "exemplar": exemplars,
        "format": "time_series",
    }


def now(expr: str, legend: str = "") -> Json:
    """Ask at the end of the time shown; what has ended by then has no value."""
    return query(expr, legend) | {"range": False, "instant": True}


def panel(kind: str, title: str, at: At, description: str, targets: list[Json]) -> Json:
    """Give what all panels have."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "gridPos": at._asdict(),
        "datasource": SOURCE,
        "targets": [
            {"refId": letter, "datasource": SOURCE, "editorMode": "code", **target}
            for letter, target in zip("ABCDEFGHIJKLMNOP", targets, strict=False)
        ],
    }


def tile(
    title: str,
    at: At,
    description: str,
    shown: str | Mapping[str, str],
    *,
    unit: str = COUNT,
    steps: Json | None = None,
    unknown: tuple[str, str] = (DASH, NEUTRAL),
    background: bool = False,
    decimals: int | None = None,
    overrides: Sequence[Json] = (),
) -> Panel:
    """Show what a query gives now, coloured by *steps*, or several by their names.

    *unknown* is the word, and its colour, where there is no answer.
    """
    queries = {"": shown} if isinstance(shown, str) else shown
    alone = len(queries) == 1
    if unit == COUNT and decimals is None:
        decimals = 0
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": steps or thresholds(NEUTRAL),
        "mappings": [word_for_nan(*unknown)],
        "noValue": unknown[0],
        **({} if decimals is None else {"decimals": decimals}),
    }
    options = {
        "colorMode": "background_solid" if background else "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto" if alone else "vertical",
        "reduceOptions": {"calcs": ["last"], "fields": "", "values": False},
        "text": {"valueSize": 38 if alone else 30},
        "textMode": "value" if alone else "auto",
        "wideLayout": True,
    }
    targets = [now(f"{expr} or {NOT_KNOWN}", name) for name, expr in queries.items()]
    return panel("stat", title, at, description, targets) | {
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
    }


def lines(
    title: str,
    at: At,
    description: str,
    *targets: Json,
    unit: str,
    none: str = "none",
    stacked: bool = False,
    fill: int | None = None,
    points: bool = False,
    bars: bool = False,
    legend: Sequence[str] | None = None,
    interval: str = "",
    soft_max: float | None = None,
    limit: Json | None = None,
    largest: float | None = None,
    shades: str = "",
    overrides: Sequence[Json] = (),
) -> Panel:
    """Show a line for each series, in colours of their own or in *shades* of one.

    *legend* gives numbers beside the names (`mean`, `max`), in a table at the right of
    a panel that is wide enough; else the names are below. *limit* is drawn as a line.
    """
    if fill is None:
        fill = 70 if stacked or bars else 0
    style: Json = {
        "drawStyle": "bars" if bars else "points" if points else "line",
        "lineWidth": 0 if stacked else 1,
        "fillOpacity": fill,
        "gradientMode": "none",
        "pointSize": 4,
        "showPoints": "always" if points else "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limit else "off"},
    }
    if soft_max is not None:
        style["axisSoftMax"] = soft_max
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "shades", "fixedColor": shades}
        if shades
        else {"mode": "palette-classic"},
        "custom": style,
        "noValue": none,
        "thresholds": limit or thresholds(NEUTRAL),
    }
    if largest is not None:
        defaults["max"] = largest
    shown: Json = {"showLegend": True, "displayMode": "list", "placement": "bottom"}
    shown["calcs"] = list(legend or ())
    if legend:
        shown |= {"displayMode": "table", "placement": "right"}
        shown |= {"sortBy": legend[-1].capitalize(), "sortDesc": True}
    made = panel("timeseries", title, at, description, list(targets)) | {
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": {
            "legend": shown,
            "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
        },
    }
    return made | ({"interval": interval} if interval else {})


def heatmap(
    title: str, at: At, description: str, buckets: str, *, scheme: str, none: str
) -> Panel:
    """Show how many had which value, and when; exemplars lead to traces."""
    target = query(buckets, "{{le}}", exemplars=True) | {"format": "heatmap"}
    return panel("heatmap", title, at, description, [target]) | {
        "maxDataPoints": 80,
        "fieldConfig": {
            "defaults": {"unit": PER_SECOND, "noValue": none, "custom": {}},
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": PER_SECOND},
            "color": {"mode": "scheme", "scheme": scheme, "exponent": 0.5, "steps": 64},
            "exemplars": {"color": "rgba(110, 159, 255, 0.8)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto", "value": ""},
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
            "yAxis": {"axisPlacement": "left", "unit": SECONDS},
        },
    }


def states(
    title: str, at: At, description: str, *targets: Json, mapping: Json, none: str
) -> Panel:
    """Show a bar for each series, coloured by *mapping*."""
    defaults = {
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(NEUTRAL),
        "mappings": [mapping],
        "noValue": none,
        "custom": {"fillOpacity": 70, "lineWidth": 0},
    }
    return panel("state-timeline", title, at, description, list(targets)) | {
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "alignValue": "left",
            "legend": {"showLegend": False, "displayMode": "list"},
            "mergeValues": True,
            "rowHeight": 0.8,
            "showValue": "never",
            "tooltip": {"mode": "single", "sort": "none"},
        },
    }


def row(title: str, y: int) -> Panel:
    """Head the panels below, which it can hide."""
    at = At(0, y, FULL_WIDTH, 1)
    return {
        "type": "row",
        "title": title,
        "gridPos": at._asdict(),
        "collapsed": False,
        "panels": [],
    }


def dashed(name: str, colour: str) -> Json:
    """Draw the series *name* as a dashed line, beside the areas."""
    style = {"fill": "dash", "dash": [6, 6]}
    return named(
        name,
        {"id": "custom.lineWidth", "value": 1},
        {"id": "custom.lineStyle", "value": style},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "custom.stacking", "value": {"group": "B", "mode": "none"}},
        *coloured({name: colour})[0]["properties"],
    )
