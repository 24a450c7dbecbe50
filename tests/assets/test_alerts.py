"""The alerts, by promtool: each fires and each keeps silent, and has a runbook."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from huey_otel._prometheus.catalog import CATALOG
from tests.live.scraping import installed
from tests.support.programs import ROOT

PROMETHEUS = ROOT / "runtime" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
METRIC = re.compile(r"(?<![\w:])huey_\w+")
QUEUE_LENGTH = "queue:huey_queue_length:max"
LOST = 'huey_tasks_finished_total{outcome="lost"}'
STARTED = "0 * huey_consumer_start_time_seconds"
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed("promtool"), *arguments],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--lint-fatal", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=["config", "rules", "tests"],
)
def test_promtool_accepts_the_rules(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_say_the_same_of_consumers_behind_the_exporter(
    tmp_path: Path,
) -> None:
    """Where all are of one instance, each with its label `consumer`."""
    text = (PROMETHEUS / "rules.test.yml").read_text()
    series = re.compile(r"(huey_\w+\{[^}]*?)instance=\"(\w+)\"")
    text, of_series = series.subn(r'\1instance="exporter",consumer="\2"', text)
    told = re.compile(r"(exp_labels: \{queue: \w+, )instance: (\w+)")
    text, of_labels = told.subn(r"\1instance: exporter, consumer: \2", text)
    (tmp_path / "rules.test.yml").write_text(text)
    (tmp_path / "rules.yml").symlink_to(PROMETHEUS / "rules.yml")

    done = promtool("test", "rules", str(tmp_path / "rules.test.yml"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert of_series > 100
    assert of_labels == 3


# Tests of tests: promtool runs all cases for each.
@pytest.mark.proof
@pytest.mark.parametrize("other", ["1e9", "-1"], ids=["never", "always"])
@pytest.mark.parametrize(
    "limit",
    [
        *("> 100\n", ">= 5\n", "> 0.1\n", "> 1\n", "> 180\n", "> 0\n", "== 0 "),
        *("> 900\n", "> 3600\n", "> 0.5\n", ">= 50\n", "> 120\n"),
        *("> 2\n", "< 130)", "- 300)"),
    ],
)
def test_limit_that_is_wrong_fails_the_tests_of_the_alerts(
    limit: str, other: str, tmp_path: Path
) -> None:
    text = (PROMETHEUS / "rules.yml").read_text()
    wrong = text.replace(limit, re.sub(r"[\d.]+", other, limit))
    (tmp_path / "rules.yml").write_text(wrong)
    (tmp_path / "rules.test.yml").symlink_to(PROMETHEUS / "rules.test.yml")

    assert wrong != text
    assert promtool("test", "rules", str(tmp_path / "rules.test.yml")).returncode == 1


@pytest.mark.proof
@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("max by (queue) (huey_queue_length)", "sum by (queue) (huey_queue_length)"),
        ("max by (queue) (huey_results)", "sum by (queue) (huey_results)"),
        (
            "max by (queue) (huey_schedule_length)",
            "sum by (queue) (huey_schedule_length)",
        ),
        ("or last_over_time(", "or 0 * last_over_time("),
        ("due_timestamp_seconds:max offset 5m", "due_timestamp_seconds:max"),
        ("and on (queue, task) huey_periodic_task_interval_seconds)", ")"),
        (
            "next_run_timestamp_seconds:max[2h] offset 1m)",
            "next_run_timestamp_seconds:max[2h])",
        ),
        ("<= time()", ""),
        (
            "+ on (instance, consumer, queue) 1e11 *",
            "+ on (instance, consumer, queue) 0 *",
        ),
        (
            "huey_consumer_start_time_seconds\n          + on",
            "vector(1)\n          + on",
        ),
        (
            "changes(queue_task:huey_periodic_task_interval_seconds:max[1h]) > 0",
            "changes(queue_task:huey_periodic_task_interval_seconds:max[1h]) > 9",
        ),
        ("> min by (queue, task)", "> 9 + 1e9 * min by (queue, task)"),
        ('{origin="periodic"}', ""),
        (f"and timestamp({LOST})", f"and 1e12 + {LOST}"),
        ('increase10m{task="_unknown"}', "increase10m"),
        ('lost:increase10m{task!="_unknown"}', "lost:increase10m"),
        ('failed:increase10m{task!="_unknown"}', "failed:increase10m"),
        ("last_over_time(queue:huey_queue_length:max[5m])", QUEUE_LENGTH),
        (
            "last_over_time(queue:huey_queue_length:max[5m])",
            f"max_over_time({QUEUE_LENGTH}[5m])",
        ),
        (
            "and on (instance, consumer, queue)"
            " huey_consumer_start_time_seconds offset 5m",
            "",
        ),
        (f"unless {LOST} offset 5m", ""),
    ],
)
def test_rule_that_is_wrong_fails_the_tests_of_the_alerts(
    part: str, other: str, tmp_path: Path
) -> None:
    text = (PROMETHEUS / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(text.replace(part, other))
    (tmp_path / "rules.test.yml").symlink_to(PROMETHEUS / "rules.test.yml")

    assert part in text
    assert promtool("test", "rules", str(tmp_path / "rules.test.yml")).returncode == 1


def test_each_alert_is_seen_firing_and_silent() -> None:
    tests: dict[str, Any] = yaml.safe_load((PROMETHEUS / "rules.test.yml").read_text())
    seen = defaultdict(set)
    for case in tests["tests"]:
        for one in case.get("alert_rule_test", ()):
            seen[one["alertname"]].add(bool(one["exp_alerts"]))

    assert seen == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_to_do(name: str) -> None:
    document, _, heading = ALERTS[name]["annotations"]["runbook"].partition("#")

    assert heading == name.lower()
    assert f"### {name}\n" in (ROOT / document).read_text()


@pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_rules_use_known_metrics(rule: dict[str, Any]) -> None:
    used = {SUFFIX.sub("", name) for name in METRIC.findall(rule["expr"])}

    assert used <= set(CATALOG)
