"""The dashboards are what their code makes, of metrics that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import DASHBOARDS as BUILDERS
from grafana.build import DIRECTORY
from grafana.vocabulary.page import text
from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from tests.support.dashboards import (
    DASHBOARDS,
    FOLDER,
    NAMES,
    QUERIES,
    Json,
    Query,
    panels,
)
from tests.support.programs import ROOT

PANELS = [(name, panel) for name in NAMES for panel in panels(name)]
each_panel = pytest.mark.parametrize(
    ("name", "panel"), PANELS, ids=[f"{name}: {one['title']}" for name, one in PANELS]
)
each_query = pytest.mark.parametrize("query", QUERIES, ids=" ".join)
each_dashboard = pytest.mark.parametrize("name", NAMES)

ALL_METRICS = CATALOG | EXPORTER
OF_THE_TARGET = {"job", "namespace", "instance", n.CONSUMER_LABEL}
MADE_BY_QUERIES = {"name", "first", "on"}
OF_ALERTS = {"alertname", "alertstate", "severity"}
OF_OTHERS = {"up", "process_resident_memory_bytes", "ALERTS", "ALERTS_FOR_STATE"}
SERIES = re.compile(r"(?<![:\w])([a-zA-Z_:]\w*){([^}]*)}")
RECORDED = re.compile(r"\bqueue(?:_task)?:huey_\w+:\w+")


def test_the_files_are_what_the_code_makes() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == BUILDERS.keys() == set(NAMES)
    for name, build in BUILDERS.items():
        assert text(build()) == (DIRECTORY / f"{name}.json").read_text()


@each_query
def test_queries_name_metrics_and_labels_of_the_catalog(query: Query) -> None:
    expr = query.target["expr"]
    recorded = set(RECORDED.findall(expr))
    rules = yaml.safe_load((ROOT / "runtime/prometheus/rules.yml").read_text())
    assert recorded <= {
        rule.get("record") for group in rules["groups"] for rule in group["rules"]
    }
    names = set(re.findall(r"(?<![:\w])huey_\w+", expr)) - {"huey_version"}
    assert {re.sub(r"_(bucket|sum)$", "", name) for name in names} <= ALL_METRICS.keys()
    for metric, matchers in SERIES.findall(RECORDED.sub("recorded", expr)):
        definition = ALL_METRICS.get(re.sub(r"_(bucket|sum)$", "", metric))
        labels = {label for label, _ in _matched(matchers)}
        if definition is not None:
            assert labels <= {*definition.labels, *OF_THE_TARGET}, metric
        else:
            assert metric in OF_OTHERS | {"recorded"}


def _matched(matchers: str) -> list[tuple[str, str]]:
    return re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', matchers)


@each_query
def test_queries_group_and_join_by_labels_that_there_are(query: Query) -> None:
    known = {label for one in ALL_METRICS.values() for label in one.labels}
    known |= OF_THE_TARGET | MADE_BY_QUERIES | OF_ALERTS | {"le", "version"}
    expr = query.target["expr"]
    groups = re.findall(r"\b(?:by|on|ignoring|without) \(([^)]*)\)", expr)
    named = re.findall(r"{{(\w+)}}", query.target.get("legendFormat", ""))
    used = {label.strip() for group in groups for label in group.split(",")} - {""}
    assert used | set(named) <= known


@each_query
def test_queries_name_outcomes_that_there_are(query: Query) -> None:
    outcomes = {getattr(n, name) for name in dir(n) if name.startswith("OUTCOME_")}
    for _, matchers in SERIES.findall(query.target["expr"]):
        for label, value in _matched(matchers):
            if label == "outcome":
                assert set(value.split("|")) <= outcomes


@each_query
def test_queries_are_of_what_was_chosen(query: Query) -> None:
    for metric, matchers in SERIES.findall(query.target["expr"]):
        chosen = dict(_matched(matchers))
        if metric.startswith("__name__") or "__name__" in chosen:
            continue
        # Who enqueues may be of another job than the consumers.
        if metric != n.TASKS_ENQUEUED_TOTAL:
            assert chosen["job"].removesuffix("|") == "$job"
        assert chosen["namespace"].removesuffix("|") == "$namespace"
        # By its start a consumer is known, whichever its queue.
        if metric != n.CONSUMER_START_TIME and "queue" in _labels(metric):
            assert chosen["queue"].removesuffix("|") == "$queue"


def _labels(metric: str) -> tuple[str, ...]:
    definition = ALL_METRICS.get(re.sub(r"_(bucket|sum)$", "", metric))
    return () if definition is None else definition.labels


@each_dashboard
def test_queries_use_variables_that_the_dashboard_has(name: str) -> None:
    variables = {one["name"] for one in DASHBOARDS[name]["templating"]["list"]}
    built_in = {"__range", "__range_s", "__interval", "__interval_ms"}
    built_in |= {"__rate_interval", "__rate_interval_ms"}
    for panel in panels(name):
        for target in panel["targets"]:
            used = set(re.findall(r"\$([a-zA-Z_]\w*)", target["expr"]))
            assert used <= variables | built_in
    for one in DASHBOARDS[name]["annotations"]["list"]:
        assert set(re.findall(r"\$([a-zA-Z_]\w*)", one["expr"])) <= variables | built_in


# What is the same on each consumer of a queue.
SHARED = [one.name for one in CATALOG.values() if "never sum" in one.help]


@each_query
def test_gauges_of_a_queue_are_never_summed_over_its_consumers(query: Query) -> None:
    expr = query.target["expr"]
    for metric in SHARED:
        for found in re.finditer(rf"{metric}{{", expr):
            before = expr[: found.start()]
            assert re.search(
                r"(max by \(queue(, task)?\) \(|max\()(max_over_time\()?$", before
            )


@each_panel
def test_each_panel_says_what_it_shows(name: str, panel: Json) -> None:
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert [one["title"] for one in panels(name)].count(panel["title"]) == 1
    # Else Grafana says "No data" of what is as it should be.
    assert panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_each_number_has_a_unit_of_its_own(name: str, panel: Json) -> None:
    fields = panel["fieldConfig"]
    if panel["type"] == "state-timeline":
        assert fields["defaults"]["mappings"]
        return
    if panel["type"] != "table":
        assert fields["defaults"]["unit"]
        return
    # One for the whole table would make "NaN" of its texts.
    assert "unit" not in fields["defaults"]
    properties = _by_name(panel)
    names = panel["transformations"][-1]["options"]["renameByName"]
    refs = [target["refId"] for target in panel["targets"]]
    for ref in refs:
        field = f"Value #{ref}" if len(refs) > 1 else "Value"
        shown = properties[names.get(field, field)]
        assert shown.get("custom.hidden") or shown["unit"]


def _by_name(panel: Json) -> dict[str, dict[str, Any]]:
    return {
        override["matcher"]["options"]: {
            each["id"]: each["value"] for each in override["properties"]
        }
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName"
    }


@pytest.mark.parametrize(
    "panel",
    [panel for _, panel in PANELS if panel["type"] == "stat"],
    ids=lambda panel: panel["title"],
)
def test_each_tile_is_coloured_by_meaning_and_has_a_word_for_what_is_not_known(
    panel: Json,
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    legends = [target["legendFormat"] for target in panel["targets"]]
    for legend in legends:
        own = _by_name(panel).get(legend, {}).get("thresholds")
        steps = (own or defaults["thresholds"])["steps"]
        # Green is said of a number that might be bad, or of a success.
        assert steps[0]["color"] != "green" or len(steps) > 1 or legend == "success"
    # Without a value a tile has the lowest colour: green, or red.
    assert all(one["expr"].endswith(" or vector(NaN)") for one in panel["targets"])
    (nan,) = (one for one in defaults["mappings"] if one["type"] == "special")
    assert nan["options"]["result"]["color"] != "green"


@each_panel
def test_a_task_is_named_with_its_queue(name: str, panel: Json) -> None:
    for target in panel["targets"]:
        groups = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        assert all("queue" in group for group in groups if re.search(r"\btask", group))
        if "queue, task" in target["expr"] and panel["type"] == "timeseries":
            assert target["legendFormat"] in {"{{name}} · {{queue}}", "others"}


@each_dashboard
def test_panels_overlap_nowhere(name: str) -> None:
    cells = [
        (column, row)
        for panel in DASHBOARDS[name]["panels"]
        for place in [panel["gridPos"]]
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    # Without holes: each row of the grid is full.
    assert len(cells) == 24 * (1 + max(row for _, row in cells))
    assert max(column for column, _ in cells) == 23


def test_the_overview_down_to_its_tables_fits_on_a_screen() -> None:
    (head,) = (one for one in DASHBOARDS["overview"]["panels"] if one["type"] == "row")
    assert head["gridPos"]["y"] == 26


def test_dashboards_are_found_by_their_tag_and_uid() -> None:
    assert {name: one["uid"] for name, one in DASHBOARDS.items()} == {
        "overview": "huey-overview",
        "task": "huey-task",
        "consumers": "huey-consumers",
    }
    for one in DASHBOARDS.values():
        assert one["tags"] == ["huey"]
        assert one["links"][0]["tags"] == ["huey"]


@each_panel
def test_links_lead_to_dashboards_variables_and_columns_that_there_are(
    name: str, panel: Json
) -> None:
    by_uid = {one["uid"]: one for one in DASHBOARDS.values()}
    for properties in _by_name(panel).values():
        for link in properties.get("links", ()):
            uid, parameters = re.fullmatch(r"/d/([\w-]+)\?(.*)", link["url"]).groups()
            variables = {one["name"] for one in by_uid[uid]["templating"]["list"]}
            own = {one["name"] for one in DASHBOARDS[name]["templating"]["list"]}
            kept = set(re.findall(r"\${(\w+):queryparam}", parameters))
            assert kept <= variables & own
            fields = re.findall(r"var-(\w+)=\${__data.fields.(\w+)}", parameters)
            columns = panel["transformations"][-1]["options"]["indexByName"]
            assert fields
            for variable, field in fields:
                assert variable in variables
                assert field in columns


def test_grafana_finds_them_where_compose_mounts_them() -> None:
    provided = yaml.safe_load(
        (ROOT / "grafana/provisioning/dashboards/dashboards.yml").read_text()
    )
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = compose["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    (provider,) = provided["providers"]
    assert provider["options"]["path"] == mounted["./grafana/dashboards"]
    assert FOLDER == DIRECTORY == ROOT / "grafana/dashboards"
    assert str(home.parent) == mounted["./grafana/dashboards"]
    assert (FOLDER / home.name).exists()
