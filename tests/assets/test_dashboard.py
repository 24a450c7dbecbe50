"""The dashboard is what its script makes, of metrics that there are."""

import json
import re
import runpy
from typing import Any

import pytest
import yaml

from huey_otel._catalog import CATALOG
from tests.support import ROOT

BUILD = runpy.run_path(str(ROOT / "grafana" / "build.py"))
DASHBOARD: dict[str, Any] = json.loads(BUILD["PATH"].read_text())
QUERIES = [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
MATCHED = re.compile(r"\b(huey_\w+)({[^}]*})?")


def test_file_is_what_the_script_makes() -> None:
    assert BUILD["text"]() == BUILD["PATH"].read_text()


@pytest.mark.parametrize("query", QUERIES)
def test_query_uses_metrics_that_there_are_of_the_queue_that_is_chosen(
    query: str,
) -> None:
    for metric, matchers in MATCHED.findall(query):
        assert re.sub(r"_bucket$", "", metric) in CATALOG
        assert 'queue=~"$queue"' in matchers


# What is the same on each consumer of a queue.
SHARED = [name for name, *_, text in CATALOG.values() if "never sum" in text]


@pytest.mark.parametrize(
    "query", [one for one in QUERIES if any(name in one for name in SHARED)]
)
def test_gauge_of_a_queue_is_never_added_up_over_its_consumers(query: str) -> None:
    for metric, matchers in MATCHED.findall(query):
        if metric in SHARED:
            taken = rf"max by \(queue(, task)?\) \({metric}{re.escape(matchers)}\)"
            assert re.search(taken, query)


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
