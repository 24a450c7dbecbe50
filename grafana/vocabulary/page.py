"""The page round the panels: variables, links, annotations."""

import json
import urllib.parse
from collections.abc import Sequence
from typing import Final

from grafana.vocabulary.panels import SOURCE, Json, Panel
from grafana.vocabulary.promql import QUEUES, TARGETS, WHERE_KNOWN, Scope

TAG: Final = "huey"
OVERVIEW: Final = "huey-overview"
TASK: Final = "huey-task"
CONSUMERS: Final = "huey-consumers"

ALL: Final = {"text": "All", "value": "$__all"}
# A consumer that does not answer has no series of its own, a queue without consumers
# none of theirs; what the exporter knows, rules have recorded and alerts are about is
# there for as long as the trouble is.
_TARGETS: Final = (
    "huey_consumer_info",
    "huey_exporter_up",
    "instance:huey_.*",
    "ALERTS",
)
_QUEUES: Final = ("huey_consumer_info", "huey_queue_length", "ALERTS")
_OF_HUEY: Final = 'alertname=~"Huey.*|"'


def variable(
    name: str,
    label: str,
    series: str,
    *,
    several: bool = True,
    everything: str | None = None,
) -> Json:
    """Choose among the values that the label *name* has in *series*.

    *everything* is what All matches, where series without the label are meant as well.
    """
    found: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": f"label_values({series}, {name})", "refId": "values"},
        "definition": f"label_values({series}, {name})",
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "options": [],
        "current": ALL if several else {},
    }
    return found | ({"allValue": everything} if everything else {})


def targets() -> str:
    """Give the series of all targets that are consumers or exporters, or were."""
    return _any_of(_TARGETS, WHERE_KNOWN)


def _any_of(names: Sequence[str], scope: Scope | None = None) -> str:
    """Give the series of all these names, and of alerts those of huey's rules."""
    found = Scope(f'__name__=~"{"|".join(names)}", {_OF_HUEY}')
    return (found.within(scope.matchers) if scope else found)("")


def where() -> list[Json]:
    """Give the variables that all dashboards share."""
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Prometheus",
            "query": "prometheus",
            "current": {},
            "options": [],
        },
        {
            "type": "datasource",
            "name": "traces",
            "label": "Traces",
            "query": "jaeger",
            "current": {},
            "options": [],
            "hide": 2,
        },
        # Without a value of its own for All: `.*` would count every target in `up`.
        variable("job", "Job", _any_of(_TARGETS)),
        variable(
            "namespace",
            "Namespace",
            _any_of(_TARGETS, Scope('job=~"$job"')),
            everything=".*",
        ),
        variable("queue", "Queue", _any_of(_QUEUES, TARGETS)),
    ]


def explore(tags: str = "") -> str:
    """Give the address of Explore, which looks for traces with *tags*."""
    asked = {
        "refId": "A",
        "datasource": {"type": "jaeger", "uid": "${traces}"},
        "queryType": "search",
        "tags": tags,
    }
    time = {"from": "${__from}", "to": "${__to}"}
    panes = {"a": {"datasource": "${traces}", "queries": [asked], "range": time}}
    quoted = urllib.parse.quote(json.dumps(panes), safe="${}:_")
    return f"/explore?schemaVersion=1&panes={quoted}"


def links(traces: str) -> list[Json]:
    """Lead to the other dashboards and to the traces."""
    return [
        {
            "type": "dashboards",
            "title": TAG,
            "tags": [TAG],
            "asDropdown": False,
            "includeVars": True,
            "keepTime": True,
            "targetBlank": False,
            "icon": "external link",
            "tooltip": "",
            "url": "",
        },
        {
            "type": "link",
            "title": "Traces",
            "tags": [],
            "asDropdown": False,
            "includeVars": False,
            "keepTime": False,
            "targetBlank": True,
            "icon": "external link",
            "tooltip": "Explore the traces of these tasks",
            "url": traces,
        },
    ]


def to_dashboard(uid: str, title: str, **chosen: str) -> Json:
    """Lead from a row of a table to a dashboard; its fields set these variables."""
    kept = ("datasource", "job", "namespace")
    parts = [
        "${__url_time_range}",
        *(f"${{{name}:queryparam}}" for name in kept),
        *(f"var-{name}=${{__data.fields.{field}}}" for name, field in chosen.items()),
    ]
    return {"title": title, "url": f"/d/{uid}?{'&'.join(parts)}"}


def annotation(name: str, expr: str, colour: str, text: str) -> Json:
    """Mark the moments at which *expr* has a value above 0."""
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "datasource": SOURCE,
        "expr": expr,
        "step": "15s",
        "titleFormat": name,
        "textFormat": text,
        "useValueForTime": False,
    }


def annotations() -> list[Json]:
    """Give what is marked on all dashboards."""
    window = "$__rate_interval"
    lost = QUEUES("huey_tasks_finished_total", 'outcome="lost"')
    up, stale = TARGETS("up"), QUEUES("huey_exporter_pages", 'state="stale"')
    started = QUEUES("huey_consumer_start_time_seconds")
    died = QUEUES("huey_worker_restarts_total", 'reason="died"')
    return [
        annotation(
            "Consumer started",
            f"{started} > time() - 30",
            "blue",
            "{{queue}} {{instance}} {{consumer}}",
        ),
        annotation(
            "Worker died",
            f"sum by (instance, consumer, queue) (increase({died}[{window}])) > 0",
            "orange",
            "{{queue}} {{instance}} {{consumer}}",
        ),
        annotation(
            "Task lost",
            f"sum by (queue, task) (({lost} unless {lost} offset {window}) "
            f"or increase({lost}[{window}])) > 0",
            "purple",
            "{{queue}} {{task}}",
        ),
        annotation(
            "Consumer down",
            f"(({up} == bool 0) > 0 unless {up} offset {window} == 0) "
            f"or ({stale} > 0 unless {stale} offset {window} > 0)",
            "red",
            "{{instance}} {{queue}}",
        ),
    ]


def dashboard(
    uid: str,
    title: str,
    panels: Sequence[Panel],
    *,
    more_variables: Sequence[Json] = (),
    traces: str = "",
) -> Json:
    """Give the whole dashboard."""
    return {
        "uid": uid,
        "title": f"huey / {title}",
        "tags": [TAG],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "refresh": "30s",
        "templating": {"list": [*where(), *more_variables]},
        "annotations": {"list": annotations()},
        "links": links(explore(traces)),
        "panels": [
            {"id": number, **each} for number, each in enumerate(panels, start=1)
        ],
    }


def text(made: Json) -> str:
    """Give the content of the dashboard's file."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
