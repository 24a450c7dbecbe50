"""The dashboard is what its script makes, of metrics that there are."""

import json
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from huey_otel._prometheus.catalog import CATALOG
from tests.live.scraping import installed
from tests.support.programs import ROOT

BUILD = runpy.run_path(str(ROOT / "grafana" / "build.py"))
DASHBOARD: dict[str, Any] = json.loads(BUILD["PATH"].read_text())
QUERIES = [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
MATCHED = re.compile(r"\b(huey_\w+)({[^}]*})?")


def test_the_dashboard_file_is_what_the_script_makes() -> None:
    assert BUILD["text"]() == BUILD["PATH"].read_text()


@pytest.mark.parametrize("query", QUERIES)
def test_queries_use_known_metrics_of_the_chosen_queue(
    query: str,
) -> None:
    for metric, matchers in MATCHED.findall(query):
        assert re.sub(r"_bucket$", "", metric) in CATALOG
        assert re.search(r'queue=~"\$queue\|?"', matchers)


# What is the same on each consumer of a queue.
SHARED = [one.name for one in CATALOG.values() if "never sum" in one.help]


@pytest.mark.parametrize(
    "query", [one for one in QUERIES if any(name in one for name in SHARED)]
)
def test_gauges_of_a_queue_are_never_summed_over_its_consumers(query: str) -> None:
    for metric, matchers in MATCHED.findall(query):
        if metric in SHARED:
            taken = rf"max by \(queue(, task)?\) \({metric}{re.escape(matchers)}\)"
            assert re.search(taken, query)


# One queue was busy for ten minutes and is idle since; the other always was.
SHOP, MAIL = 'queue="shop", task="pay"', 'queue="mail", task="post"'
IDLE = {
    f'huey_tasks_finished_total{{{SHOP}, outcome="success"}}': "0+1x10 10x50",
    f'huey_tasks_finished_total{{{SHOP}, outcome="failure"}}': "0x60",
    f"huey_tasks_in_progress{{{SHOP}}}": "3x10 0x50",
    f"huey_task_retries_total{{{SHOP}}}": "0+1x10 10x50",
    f"huey_task_retries_total{{{MAIL}}}": "0x60",
}


@pytest.mark.parametrize(
    ("title", "series", "minutes", "shown"),
    [
        ("Success", IDLE, 20, {"{}": 1}),
        ("Success", IDLE, 60, {}),
        ("Success", {}, 60, {}),
        ("Failed", IDLE, 60, {"{}": 0}),
        ("Failed", {}, 60, {}),
        ("In progress", IDLE, 5, {f"{{{SHOP}}}": 3}),
        ("In progress", IDLE, 60, {f"{{{SHOP}}}": 0}),
        ("Retries and locks", IDLE, 20, {f"{{{SHOP}}}": 0}),
        ("Retries and locks", IDLE, 60, {}),
    ],
)
def test_panel_of_an_idle_queue_distinguishes_zero_from_no_data(
    title: str,
    series: dict[str, str],
    minutes: int,
    shown: dict[str, float],
    tmp_path: Path,
) -> None:
    (panel,) = (each for each in DASHBOARD["panels"] if each["title"] == title)
    query = panel["targets"][0]["expr"].replace("$queue", ".*")
    query = query.replace("$__rate_interval", "5m").replace("$__range", "30m")
    given = [{"series": name, "values": values} for name, values in series.items()]
    samples = [{"labels": key, "value": value} for key, value in shown.items()]
    asked = {"expr": query, "eval_time": f"{minutes}m", "exp_samples": samples}
    case = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    (tmp_path / "case.yml").write_text(yaml.safe_dump({"tests": [case]}))

    done = subprocess.run(
        [installed("promtool"), "test", "rules", str(tmp_path / "case.yml")],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda each: each["title"])
def test_task_is_named_with_its_queue(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert not re.search(r"by \((?!queue, )[^)]*task", target["expr"])
        legend = target.get("legendFormat", "")
        assert ("{{task}}" in legend) <= legend.startswith("{{queue}} {{task}}")


def test_panels_overlap_nowhere() -> None:
    cells = [
        (column, row)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) == 23


def test_grafana_finds_it_where_compose_mounts_it() -> None:
    provided = yaml.safe_load(
        (ROOT / "grafana/provisioning/dashboards/dashboards.yml").read_text()
    )
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounted = dict(
        volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"]
    )

    (provider,) = provided["providers"]
    assert provider["options"]["path"] == mounted["./grafana/dashboards"]
    assert BUILD["PATH"].parent == (ROOT / "grafana/dashboards")
