"""What a person sees in Prometheus 3: alerts, panels, marks and exemplars."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
import yaml

from tests.live.panels import CHOSEN
from tests.live.viewers.scene import (
    ALERTS,
    CHARGE,
    RESIZE,
    SHAPES,
    STAGES,
    Scene,
    alerts,
)
from tests.support.dashboards import DASHBOARDS, QUERIES, Query, filled
from tests.support.programs import ROOT

Record = Callable[[str, object], None]

RATE = 20
"""Seconds that a rate looks back: four scrapes, as in Grafana."""

SHOWN = 300
"""Seconds that are shown."""

TASKS = (CHARGE, RESIZE, "runtime.shop.tasks.sync_stock")
"""One that fails and is retried, one that is lost, and one that is refused."""

NO_OTHERS = "each has a line of its own, so no others are summed up"
EMPTY = {
    Query("overview", "Exceptions by class", "B"): NO_OTHERS,
    Query("overview", "Failures by task", "B"): NO_OTHERS,
    Query("overview", "Retries", "B"): NO_OTHERS,
    Query("consumers", "Busy workers", "B"): NO_OTHERS,
    Query("consumers", "Telemetry dropped by reason"): "nothing was lost",
}
"""Queries that have no answer all day, and why that is as it should be."""

HAVE_NO_PAGES = {Query("consumers", "Up and down", "B"): "pages are in Redis"}
CLASSIC = re.compile(r"huey_\w+_seconds_(bucket|sum)")
NATIVE = "it asks for the series of a classic histogram"
ELSEWHERE = {
    "endpoints": HAVE_NO_PAGES,
    "exporter": {Query("consumers", "Memory"): "the exporter shows ours alone"},
    "native": HAVE_NO_PAGES
    | {one: NATIVE for one in QUERIES if CLASSIC.search(one.target["expr"])},
}
"""Likewise of one shape."""

of_each_shape = pytest.mark.parametrize("shape", SHAPES)


@of_each_shape
@pytest.mark.parametrize("stage", STAGES)
def test_alerts_are_those_of_the_stage_and_no_others(
    scene: Scene, shape: str, stage: str, record_property: Record
) -> None:
    found = alerts(scene.viewers[shape], scene.moments[shape, stage])

    names = Counter(sorted(name for name, _, _ in found))
    record_property("proof", {"alerts": len(found)} | names)
    assert found == ALERTS[stage]


@of_each_shape
def test_no_other_alert_fires_at_any_time(scene: Scene, shape: str) -> None:
    day = f"{scene.ended - scene.began:.0f}s"
    fired = scene.viewers[shape].values(
        f'max_over_time(ALERTS{{alertstate="firing"}}[{day}])',
        *("alertname", "task", "window"),
        at=scene.ended,
    )

    # In the last stage all have their cause.
    assert fired.keys() <= ALERTS[STAGES[-1]]


@of_each_shape
def test_rules_are_loaded_and_have_no_fault(
    scene: Scene, shape: str, record_property: Record
) -> None:
    prometheus = ROOT / "runtime" / "prometheus"
    written = Counter(
        rule.get("alert") or rule["record"]
        for name in ("rules.yml", "slo.yml")
        for group in yaml.safe_load((prometheus / name).read_text())["groups"]
        for rule in group["rules"]
    )

    assert scene.viewers[shape].rules() == written
    assert scene.viewers[shape].faults() == {}
    record_property("proof", {"rules": written.total()})


@of_each_shape
def test_each_query_of_a_panel_has_an_answer_or_a_reason(
    scene: Scene, shape: str, record_property: Record
) -> None:
    silent = {query for query in QUERIES if not answered(scene, shape, query)}
    reasons = EMPTY | ELSEWHERE[shape]

    record_property(
        "proof",
        {"answered": len(QUERIES) - len(silent)}
        | Counter(f"'{reasons.get(query, 'no reason')}'" for query in sorted(silent)),
    )
    assert sorted(silent) == sorted(reasons)


def answered(scene: Scene, shape: str, query: Query) -> bool:
    """Whether it has an answer for any task: a chart ever, others in a stage."""
    viewer = scene.viewers[shape]
    texts = [
        query.text(seconds=SHOWN, rate=RATE, **CHOSEN | {"task": task})
        for task in TASKS
    ]
    if query.target["range"]:
        return any(viewer.ever(text, scene.began, scene.ended) for text in texts)
    return any(
        viewer.answers(text, at=scene.moments[shape, stage])
        for stage in STAGES
        for text in texts
    )


@of_each_shape
def test_marks_are_there(scene: Scene, shape: str, record_property: Record) -> None:
    marks = {
        mark["name"]: mark["expr"]
        for dashboard in DASHBOARDS.values()
        for mark in dashboard["annotations"]["list"]
    }
    for expr in marks.values():
        query = filled(expr, seconds=SHOWN, rate=RATE)
        assert scene.viewers[shape].ever(query, scene.began, scene.ended), expr
    record_property("proof", {"marks": len(marks)})


@of_each_shape
def test_all_exemplars_lead_to_traces(
    scene: Scene, shape: str, record_property: Record
) -> None:
    shown = [query for query in QUERIES if query.target["exemplar"]]
    traces = {
        query: {
            trace_id
            for task in TASKS
            for trace_id in exemplars(
                scene, shape, query.text(**CHOSEN | {"task": task})
            )
        }
        for query in shown
    }
    of_panels = set().union(*traces.values())
    of_histograms = {
        trace_id
        for name in ("huey_task_duration_seconds", "huey_task_wait_seconds")
        for series in (name, f"{name}_bucket")
        for trace_id in exemplars(scene, shape, series)
    }

    record_property(
        "proof", {"of panels": len(of_panels), "of histograms": len(of_histograms)}
    )
    # A native histogram has them, and no panel asks for it.
    answered = set() if shape == "native" else set(shown)
    assert {query for query, found in traces.items() if found} == answered
    assert len(of_histograms) > 50
    assert of_panels | of_histograms <= scene.traces.keys()


def exemplars(scene: Scene, shape: str, query: str) -> set[str]:
    return {one["trace_id"] for one in scene.viewers[shape].exemplars(query)}
