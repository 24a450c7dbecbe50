"""The alerts, by promtool: each fires and is silent, in each shape of a fleet."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from runtime.prometheus.rules.files import OBJECTIVES, RULES, SLOTH, files
from runtime.prometheus.rules.settings import read, settings_of
from tests.live.scraping import installed
from tests.support.alert_cases import (
    CASES,
    SHAPES,
    Case,
    cases,
    in_shape,
    promtool,
    promtool_file,
)
from tests.support.programs import ROOT

PROMETHEUS = ROOT / "runtime" / "prometheus"
MADE = files(read(PROMETHEUS / "shop.toml"))
OBJECTIVE_RULES = files(read(CASES / "objectives.toml"))[OBJECTIVES]
PROMTOOL_3 = ROOT / ".prometheus3" / "promtool"

METRIC = re.compile(r"(?<![\w:])huey_\w+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
LOST = 'huey_tasks_finished_total{outcome="lost"}'
LENGTH = "queue:huey_queue_length:max"
FAILED = 'queue_task:huey_tasks_failed:increase10m{task!="_unknown"}'
RAN = "queue_task:huey_tasks_ran:increase10m"
FAILED_LAST = "queue_task:huey_periodic_task_last_failure_timestamp_seconds:max"
I = "job, namespace, instance, consumer, queue"  # noqa: E741
QT = "job, namespace, queue, task"
ON_TASK = f"and on ({QT})"


def rules_in(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts_in(text: str) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules_in(text) if "alert" in rule}


ALL_RULES = [*rules_in(MADE[RULES]), *rules_in(OBJECTIVE_RULES)]
ALERTS = {**alerts_in(MADE[RULES]), **alerts_in(OBJECTIVE_RULES)}


@pytest.fixture(
    params=["Debian's", pytest.param("Prometheus 3", marks=pytest.mark.proof)]
)
def tool(request: pytest.FixtureRequest) -> str:
    """promtool, also of Prometheus 3, which `make prometheus3` builds."""
    if request.param == "Debian's":
        return installed("promtool")
    if not PROMTOOL_3.exists():
        pytest.skip("no Prometheus 3 (`make prometheus3`)")
    return str(PROMTOOL_3)


def outcome(
    tool: str, directory: Path, rules: str, found: list[Case], told: str = ""
) -> str:
    """What promtool has against *rules* in the cases *found*; empty if nothing.

    The texts of alerts are those of the rules *told*, by default the same.
    """
    path = directory / "rules.yml"
    path.write_text(rules)
    (directory / "cases.yml").write_text(promtool_file(found, path, told or rules))
    done = promtool(tool, "test", "rules", str(directory / "cases.yml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_rules_are_what_the_defaults_make() -> None:
    assert files(settings_of("")) == {RULES: MADE[RULES]}


@pytest.mark.parametrize("name", [RULES, OBJECTIVES, SLOTH])
def test_file_is_what_its_settings_make(name: str) -> None:
    assert (PROMETHEUS / name).read_text() == MADE[name]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--lint-fatal", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", RULES),
        ("check", "rules", "--lint-fatal", OBJECTIVES),
    ],
    ids=["config", "rules", "objectives"],
)
def test_promtool_accepts_the_files(tool: str, arguments: tuple[str, ...]) -> None:
    done = promtool(tool, *arguments, cwd=PROMETHEUS)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("shape", SHAPES)
def test_alerts_fire_and_keep_silent(tool: str, shape: str, tmp_path: Path) -> None:
    assert outcome(tool, tmp_path, MADE[RULES], in_shape(shape, cases())) == ""


@pytest.mark.parametrize("shape", SHAPES)
def test_objectives_fire_and_keep_silent(tool: str, shape: str, tmp_path: Path) -> None:
    found = in_shape(shape, cases("objectives"))

    assert outcome(tool, tmp_path, OBJECTIVE_RULES, found) == ""


# Tests of tests: promtool runs all cases for each.
@pytest.mark.proof
@pytest.mark.parametrize("other", ["1e9", "-1"], ids=["never", "always"])
@pytest.mark.parametrize(
    "limit",
    [
        *("> 100\n", ">= 5\n", "> 0.1\n", "> 1\n", "> 180\n", "> 0\n", "== 0\n"),
        *("> 900\n", "> 3600\n", "> 0.5\n", ">= 50\n", "> 120\n", "> 20\n"),
        *(">= 1 / 3\n", "> 2\n", "< 130\n", "- 300)", "> 600\n", "> 3\n"),
    ],
)
def test_limit_that_is_wrong_fails_the_tests_of_the_alerts(
    limit: str, other: str, tmp_path: Path
) -> None:
    wrong = MADE[RULES].replace(limit, re.sub(r"[\d./ ]*\d", f" {other}", limit))

    assert wrong != MADE[RULES]
    assert fails(wrong, tmp_path)


def fails(wrong: str, directory: Path) -> bool:
    """Whether a case in any shape finds the rules *wrong*."""
    tool = installed("promtool")
    return any(
        outcome(tool, directory, wrong, in_shape(shape, cases()), MADE[RULES])
        for shape in SHAPES
    )


@pytest.mark.proof
@pytest.mark.parametrize(
    ("part", "other"),
    [
        (
            "max by (job, namespace, queue) (huey_queue_length)",
            "sum by (job, namespace, queue) (huey_queue_length)",
        ),
        (
            "max by (job, namespace, queue) (huey_results)",
            "sum by (job, namespace, queue) (huey_results)",
        ),
        (
            "max by (job, namespace, queue) (huey_schedule_length)",
            "sum by (job, namespace, queue) (huey_schedule_length)",
        ),
        ("or\n          last_over_time(", "or\n          0 * last_over_time("),
        ("due_timestamp_seconds:max offset 5m", "due_timestamp_seconds:max"),
        (
            f"{ON_TASK} huey_periodic_task_interval_seconds\n          )\n        l",
            ")\n        l",
        ),
        (
            "next_run_timestamp_seconds:max[2h] offset 1m)",
            "next_run_timestamp_seconds:max[2h])",
        ),
        ("<= time()", ""),
        (f"+ on ({I}) 1e11 *", f"+ on ({I}) 0 *"),
        (
            "huey_consumer_start_time_seconds\n            + on",
            "vector(1)\n            + on",
        ),
        (
            "changes(queue_task:huey_periodic_task_interval_seconds:max[1h]) > 0",
            "changes(queue_task:huey_periodic_task_interval_seconds:max[1h]) > 9",
        ),
        (
            f"            >\n            min by ({QT})",
            f"            > 9 + 1e9 *\n            min by ({QT})",
        ),
        ('{origin="periodic"}', ""),
        (f"and timestamp({LOST})", f"and 1e12 + {LOST}"),
        ('increase10m{task="_unknown"}', "increase10m"),
        ('lost:increase10m{task!="_unknown"}', "lost:increase10m"),
        ('failed:increase10m{task!="_unknown"}', "failed:increase10m"),
        (f"last_over_time({LENGTH}[5m])", LENGTH),
        (f"last_over_time({LENGTH}[5m])", f"max_over_time({LENGTH}[5m])"),
        (f"and on ({I}) huey_consumer_start_time_seconds offset 5m", ""),
        (f"unless {LOST} offset 5m", ""),
        # What tells consumers behind one exporter apart.
        ("instance, consumer, queue", "instance, queue"),
        # What tells environments apart.
        ("namespace, ", ""),
        ("job, ", ""),
        ('{consumer=""}', ""),
        ("unless on (job, namespace, instance) instance:huey_exporter_up:seen", ""),
        ('state="stale"', 'state=~"stale|ended"'),
        ("up == 0 and on", "up == 2 and on"),
        ("deriv(", "abs("),
        ("deriv(queue:huey_queue_length:max[15m]) > 0", "vector(1)"),
        ("deriv(queue:huey_queue_length:max[15m])", "deriv(up[15m])"),
        ('outcome=~"error|timeout"', 'outcome=~".+"'),
        ("[1h:10m]", "[10m:10m]"),
        (f"{RAN}[1h:10m]", f"{FAILED}[1h:10m]"),
        (f"{FAILED} / ({RAN} > 0) <= 0.1", "vector(0)"),
        (f"{FAILED} / ({RAN} > 0) <= 0.1", f"{RAN} * 0"),
        (
            f"or\n            {FAILED_LAST} unless",
            f"or\n            0 * {FAILED_LAST} unless",
        ),
        (f"{FAILED_LAST} > queue_task", f"{FAILED_LAST} < queue_task"),
        (
            f"last_over_time({FAILED_LAST}[2h]) >",
            f"last_over_time({FAILED_LAST}[2h]) <",
        ),
        ('origin="periodic"} > 0', 'origin="periodic"} >= 0'),
        ('origin="periodic"} > 0', 'origin="periodic"} > 9'),
        ("max_over_time(instance_queue_task:huey_tasks_lost:new[5m])", "vector(0) < 0"),
    ],
)
def test_rule_that_is_wrong_fails_the_tests_of_the_alerts(
    part: str, other: str, tmp_path: Path
) -> None:
    assert part in MADE[RULES]
    assert fails(MADE[RULES].replace(part, other), tmp_path)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("part", "other"),
    [
        (">= 30\n", ">= 1e9\n"),
        (">= 20\n", ">= 1\n"),
        ("> 0.144\n", "> 0.9\n"),
        ("> 0.005\n", "> 0.01\n"),
        ("> 0.03\n", "> 0.003\n"),
        ('le=~"30([.]0)?"', 'le="30.0"'),
        ("ratio5m{", "ratio1h{"),
        ("lost", "locked"),
        ("job, namespace, queue, task", "job, namespace, queue"),
        ("namespace, ", ""),
    ],
)
def test_objective_that_is_wrong_fails_the_tests_of_objectives(
    part: str, other: str, tmp_path: Path
) -> None:
    tool = installed("promtool")
    wrong = OBJECTIVE_RULES.replace(part, other)

    assert part in OBJECTIVE_RULES
    assert any(
        outcome(
            tool, tmp_path, wrong, in_shape(shape, cases("objectives")), OBJECTIVE_RULES
        )
        for shape in SHAPES
    )


def test_each_alert_is_seen_firing_and_silent() -> None:
    seen = defaultdict(set)
    for case in [*cases(), *cases("objectives")]:
        for one in case.get("alert_rule_test", ()):
            seen[one["alertname"]].add(bool(one["exp_alerts"]))

    assert seen == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_to_do(name: str) -> None:
    told = ALERTS[name]["annotations"]

    address, _, heading = told["runbook_url"].partition("#")
    assert address.startswith("https://")
    assert heading == name.lower()
    page = "/".join(address.split("/")[-2:])
    assert f"\n## {name}\n" in (ROOT / page).read_text()
    assert set(told) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert told["description"].endswith(".")
    assert "<" not in told["description"]


DASHBOARDS = {
    dashboard["uid"]: dashboard
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    for dashboard in [json.loads(path.read_text())]
}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_leads_to_a_dashboard_that_has_its_variables(name: str) -> None:
    link = ALERTS[name]["annotations"]["dashboard_url"]

    variables = DASHBOARDS[re.search(r"/d/([\w-]+)", link)[1]]["templating"]["list"]
    names = re.findall(r"&var-(\w+)=", link)
    assert names
    assert set(names) <= {one["name"] for one in variables}


def test_panels_that_one_is_told_to_look_at_exist() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    told = {
        panel
        for line in re.findall(r"^\* \*\*Look at\*\*.*$", page, re.M)
        for panel in re.findall(r'"([A-Z][^"]+)"', line)
    }

    titles = {one["title"] for each in DASHBOARDS.values() for one in each["panels"]}
    assert len(told) > 10
    assert told <= titles


@pytest.mark.parametrize(
    "rule", ALL_RULES, ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_rules_use_known_metrics(rule: dict[str, Any]) -> None:
    used = {SUFFIX.sub("", name) for name in METRIC.findall(rule["expr"])}

    assert used <= {*CATALOG, *EXPORTER}


def test_no_rule_asks_what_consumers_tell_at_many_moments() -> None:
    """Sixty moments of 40 consumers with 200 tasks take longer than an interval."""
    for rule in rules_in(MADE[RULES]):
        asked = re.findall(r"(\S+)\[\w+:\w*\]", rule["expr"])
        assert all(":" in one.partition("{")[0] for one in asked), rule["expr"]


@pytest.mark.parametrize(
    "rule", ALL_RULES, ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_rules_aggregate_and_join_by_what_tells_environments_apart(
    rule: dict[str, Any],
) -> None:
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
        assert "namespace" in labels.split(", ")
        assert ("consumer" in labels) <= ("instance" in labels)
        # A target has no consumer of its own; what is of a consumer behind one has.
        assert labels in ("job, namespace, instance",) or (
            ("instance" in labels) == ("consumer" in labels)
        )
