"""The settings of the rules: what is accepted, what it changes, and what is refused."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from huey_otel._options.buckets import WAIT_BUCKETS
from runtime.prometheus.rules.files import OBJECTIVES, RULES, SLOTH, files
from runtime.prometheus.rules.settings import SettingsError, read, settings_of
from tests.live.scraping import installed
from tests.support.alert_cases import promtool
from tests.support.programs import ROOT, snippet

SLO = '[[slo]]\nname = "a"\nqueue = "shop"\nobjective = 99\n'


def made(text: str) -> dict[str, dict[str, Any]]:
    """The rules of settings in *text*, by name."""
    (group,) = yaml.safe_load(files(settings_of(text))[RULES])["groups"]
    return {rule.get("alert") or rule["record"]: rule for rule in group["rules"]}


def test_wait_buckets_are_the_consumers_own_by_default() -> None:
    objective = settings_of(f"{SLO}wait_seconds = 1800").objectives[0]

    assert objective.wait_seconds == 1800
    with pytest.raises(SettingsError) as refused:
        settings_of(f"{SLO}wait_seconds = 7")
    accepted = ", ".join(f"{bound:g}" for bound in WAIT_BUCKETS)
    assert accepted in str(refused.value)
    assert accepted in (ROOT / "docs" / "alerts.md").read_text()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("selektor = ''", ("selektor", "selector", "grouping", "alerts", "slo")),
        ("[alerts.HueyBaklog]\ntasks = 1", ("alerts.HueyBaklog", "HueyBacklog")),
        (
            "[alerts.HueyBacklog]\nseconds = 1",
            ("alerts.HueyBacklog.seconds", "tasks, for, severity, enabled"),
        ),
        ("[alerts.HueyBacklog]\ntasks = -1", ("HueyBacklog.tasks", "0 or more")),
        ("[alerts.HueyBacklog]\ntasks = true", ("HueyBacklog.tasks", "a number")),
        ("[alerts.HueyBacklog]\ntasks = nan", ("HueyBacklog.tasks", "a number")),
        ("[alerts.HueyBacklog]\ntasks = inf", ("HueyBacklog.tasks", "a number")),
        ('[alerts.HueyBacklog]\ntasks = "many"', ("HueyBacklog.tasks", "a number")),
        ("[alerts.HueyBacklog]\nfor = 10", ("HueyBacklog.for", "a string")),
        ('[alerts.HueyBacklog]\nfor = "ten"', ("HueyBacklog.for", '"10m"')),
        ('[alerts.HueyBacklog]\nfor = "-5m"', ("HueyBacklog.for", '"10m"')),
        ('[alerts.HueyBacklog]\nseverity = ""', ("HueyBacklog.severity",)),
        ("[alerts.HueyBacklog]\nenabled = 1", ("HueyBacklog.enabled", "true or false")),
        ("alerts = 1", ("alerts", "a table")),
        ("[alerts]\nHueyBacklog = 1", ("alerts.HueyBacklog", "a table")),
        ("[alerts.HueyTaskFails]\nratio = 5", ("HueyTaskFails.ratio", "0 to 1")),
        ('[alerts.HueyNotDraining]\nwindow = "0s"', ("HueyNotDraining.window",)),
        ('[alerts.HueyTaskHangs]\nignore_tasks = "a"', ("ignore_tasks", "a list")),
        ('[alerts.HueyTaskHangs]\nignore_tasks = ["("]', ("ignore_tasks", "regular")),
        ("ignore_queues = [1]", ("ignore_queues", "a list of strings")),
        ('ignore_queues = ["*"]', ("ignore_queues", "regular expression")),
        ('selector = "job"', ("selector", "matchers")),
        ("selector = '{job=\"a\"}'", ("selector", "matchers")),
        ('selector = \'job="a" b="c"\'', ("selector", "commas")),
        ('selector = \'job="a", queue="b"\'', ("selector", "queue", "ignore_queues")),
        ('[labels]\nseverity = "page"', ("labels.severity", "of their own")),
        ("selector = 1", ("selector", "a string")),
        ('targets = "huey"', ("targets", "matchers")),
        ('expected = ["huey"]', ("expected", "matchers")),
        ('grouping = ["queue"]', ("grouping", "queue")),
        ('grouping = ["job", "job"]', ("grouping", "twice")),
        ('grouping = ["a-b"]', ("grouping", "a-b")),
        ('grouping = "job"', ("grouping", "a list of strings")),
        ('runbook_url = "docs/alerts.md"', ("runbook_url", "absolute")),
        ('dashboard_url = "grafana/d"', ("dashboard_url", "absolute")),
        ("wait_buckets = [2, 1]", ("wait_buckets", "in order")),
        ("labels = 1", ("labels", "a table")),
        ("[labels]\nteam = 1", ("labels.team", "a string")),
        ("slo = 1", ("slo", "[[slo]]")),
        (f"{SLO}window = 1", ("slo a", "window", "name, queue, task")),
        (f"{SLO}[[slo]]\nname = 'b'", ("slo b", "queue is missing")),
        (f"{SLO}{SLO}", ("slo a", "twice")),
        (SLO.replace("99", "100"), ("slo a", "objective", "less than 100")),
        (SLO.replace("99", "-1"), ("slo a", "objective", "from 50")),
        (SLO.replace("99", '"99"'), ("slo a", "objective", "a number")),
        (SLO.replace('"a"', '"A b"'), ("slo A b", "name", "small letters")),
        (SLO.replace('"shop"', '"("'), ("slo a", "queue", "regular expression")),
        (f"{SLO}events = 0", ("slo a", "events", "1 or more")),
        (f"{SLO}task = 1", ("slo a", "task", "a string")),
        ("= 1", ("TOML",)),
        ('ignore_tasks = ["(?!nightly).*"]', ("ignore_tasks", "RE2", "(?!")),
        ('ignore_tasks = ["(a)\\\\1"]', ("ignore_tasks", "RE2")),
        ('ignore_queues = ["a++"]', ("ignore_queues", "RE2", "++")),
        ('ignore_queues = ["a{1001}"]', ("ignore_queues", "RE2", "{1001}")),
        ('ignore_queues = ["a{,5}"]', ("ignore_queues", "RE2", "{,5}")),
        ('ignore_queues = ["a{2}+"]', ("ignore_queues", "RE2", "{2}+")),
        ('ignore_queues = ["a\\\\Z"]', ("ignore_queues", "RE2")),
        ("selector = 'job=~\"(\"'", ("selector", "regular expression")),
        ("selector = 'job=~\"a\\.b\"'", ("selector", "backslash", "twice")),
        ("selector = '__name__=\"x\"'", ("selector", "__name__")),
        ("selector = 'outcome=\"success\"'", ("selector", "no label outcome")),
        ('targets = ""', ("targets", "every target")),
        ('expected = [""]', ("expected", "every target")),
        ('grouping = ["outcome"]', ("grouping", "outcome")),
        ('grouping = ["severity"]', ("grouping", "severity")),
        ('grouping = ["__name__"]', ("grouping", "__name__")),
        ('[labels]\nqueue = "x"', ("labels.queue", "of their own")),
        ('[labels]\njob = "x"', ("labels.job", "of their own")),
        ('[labels]\n__x__ = "x"', ("labels.__x__", "name of a label")),
        ('[alerts.HueyBacklog]\nfor = "30m1h"', ("HueyBacklog.for", '"1h30m"')),
        ('[alerts.HueyBacklog]\nfor = "99999w"', ("HueyBacklog.for", '"1h30m"')),
        ('[alerts.HueyBacklog]\nseverity = "{{ x"', ("HueyBacklog.severity", "word")),
        ('dashboard_url = "https://grafana/d?orgId=2"', ("dashboard_url", "without ?")),
        ('service = ""', ("service", "a name")),
        (f"{SLO}task = '(?=a)'", ("slo a", "task", "RE2")),
    ],
)
def test_wrong_setting_is_named_with_what_is_accepted(
    text: str, named: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_of(text)

    for part in named:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "pattern",
    [
        r"a\.b|c{2,1000}?[^\]x(?!]+(?:d)(?P<n>e)(?i:f)\\\\1",
        "[[:alpha:]]+",
        r"[(?=a)++\d]\b",
        "a}+{}+",
    ],
)
def test_promtool_knows_each_regular_expression_that_is_accepted(
    pattern: str, tmp_path: Path
) -> None:
    text = f"ignore_tasks = ['{pattern}']\n"
    (tmp_path / RULES).write_text(files(settings_of(text))[RULES])

    done = promtool(installed("promtool"), "check", "rules", str(tmp_path / RULES))

    assert done.returncode == 0, done.stdout + done.stderr


def test_labels_that_rules_tell_series_apart_by_are_no_labels_of_targets() -> None:
    """Of these a target has none, so none can be in a selector or a grouping."""
    used = {
        name
        for rule in made("").values()
        for name in re.findall(r"(\w+)(?:=~|!~|!=|=)\"", rule["expr"])
    }

    for name in used - {"job"}:
        with pytest.raises(SettingsError, match=f"no label {name}"):
            settings_of(f"selector = '{name}=\"x\"'")


def test_limits_are_those_of_the_settings() -> None:
    rules = made(
        '[labels]\nteam = "pay"\n'
        '[alerts.HueyBacklog]\ntasks = 5000\nfor = "1h30m"\nseverity = "page"\n'
        "[alerts.HueyTaskFails]\nratio = 0.025\nfailures = 7\n"
        '[alerts.HueyConsumerDown]\nfor = "0s"\n'
        "[alerts.HueyNoScheduler]\nenabled = false\n"
    )

    backlog = rules["HueyBacklog"]
    assert backlog["expr"] == "last_over_time(queue:huey_queue_length:max[5m]) > 5000"
    assert (backlog["for"], backlog["labels"]) == (
        "1h30m",
        {"severity": "page", "team": "pay"},
    )
    assert "More than 5000 tasks have" in backlog["annotations"]["description"]
    assert "> 0.025\n" in rules["HueyTaskFails"]["expr"]
    assert ">= 7" in rules["HueyTaskFails"]["expr"]
    assert "for" not in rules["HueyConsumerDown"]
    assert "HueyNoScheduler" not in rules
    assert rules["HueySeveralSchedulers"]["labels"]["team"] == "pay"


def test_ignored_names_are_in_no_alert() -> None:
    rules = made(
        'ignore_queues = ["load-.*", "a\\"b"]\n'
        "[alerts.HueyTaskHangs]\nignore_tasks = ['reports\\.yearly']\n"
    )

    both = r'queue!~"load-.*|a\"b"'
    assert f"huey_queue_length:max{{{both}}}" in rules["HueyBacklog"]["expr"]
    assert rules["HueyTaskHangs"]["expr"].count("reports") == 1
    assert rf'{{{both}, task!~"reports\\.yearly"}}' in rules["HueyTaskHangs"]["expr"]
    # Dashboards show them all the same.
    assert "load-" not in rules["queue:huey_queue_length:max"]["expr"]


def test_selector_is_on_every_series_that_has_its_labels() -> None:
    rules = made("""selector = 'namespace="prod", zone=~"eu.*"'""")

    own = 'namespace="prod", zone=~"eu.*"'
    recorded = rules["queue:huey_queue_length:max"]["expr"]
    assert recorded.endswith(f"(huey_queue_length{{{own}}})")
    # What is recorded has no zone, and would not be found.
    assert 'length:max{namespace="prod"}[5m]' in rules["HueyBacklog"]["expr"]
    down = rules["HueyConsumerDown"]["expr"]
    assert f'up{{{own}, job=~"huey.*"}} == 0' in down


def test_producers_are_selected_in_any_job() -> None:
    rules = made("""
        selector = 'job="workers", namespace="prod", zone="a"'
        producers = 'app="shop"'
    """)

    enqueued = rules["queue_task_origin:huey_tasks_enqueued:rate5m"]["expr"]
    assert 'total{namespace="prod", zone="a", app="shop"}[5m]' in enqueued
    new = rules["HueyNotDraining"]["expr"]
    assert 'enqueued:rate5m{namespace="prod"}[30m]' in new
    assert 'finished:rate5m{job="workers", namespace="prod"}[30m]' in new
    # Environments that only their jobs tell apart.
    rules = made("selector = 'job=\"eu\"'\nproducers = 'job=~\"eu|eu-web\"'")
    record = rules["queue_task_origin:huey_tasks_enqueued:rate5m"]["expr"]
    assert record.startswith("sum by (job, namespace, queue, task, origin) (")
    new = rules["HueyNotDraining"]["expr"]
    assert 'enqueued:rate5m{job=~"eu|eu-web"}[30m]' in new


def test_grouping_is_in_every_rule() -> None:
    rules = made('grouping = ["cluster"]')

    expr = rules["queue:huey_queue_length:max"]["expr"]
    assert expr == "max by (cluster, queue) (huey_queue_length)"
    for rule in rules.values():
        assert "namespace" not in rule["expr"]


def test_links_are_those_of_the_settings() -> None:
    rules = made(
        'runbook_url = "https://wiki/huey"\ndashboard_url = "https://grafana/d/"'
    )

    told = rules["HueyTaskFails"]["annotations"]
    assert told["runbook_url"] == "https://wiki/huey#hueytaskfails"
    assert told["dashboard_url"].startswith("https://grafana/d/huey-task?from=now-3h{{")


def test_alerts_have_no_link_to_a_dashboard_where_the_settings_have_none() -> None:
    text = f'dashboard_url = ""\n{SLO}'

    for name in (RULES, OBJECTIVES):
        assert "dashboard_url" in files(settings_of(SLO))[name]
        assert "dashboard_url" not in files(settings_of(text))[name]


@pytest.mark.parametrize(
    ("job", "labels", "summary", "link"),
    [
        (
            'job="huey"',
            {"job": "huey"},
            "Prometheus knows of no consumer: huey has no target",
            "&var-job=huey",
        ),
        # absent() has no label of a regular expression.
        ('job=~"hu.*"', {}, "Prometheus knows of no consumer", ""),
    ],
)
def test_expected_targets_are_missed(
    job: str, labels: dict[str, str], summary: str, link: str, tmp_path: Path
) -> None:
    text = f"expected = ['{job}, namespace=\"prod\"']"
    rules = files(settings_of(text))[RULES]
    (tmp_path / "rules.yml").write_text(rules)
    told = yaml.safe_load(rules)["groups"][0]["rules"]
    (down,) = (one for one in told if one.get("alert") == "HueyConsumerDown")
    page = "http://localhost:3000/d/huey-consumers?from=now-3h"
    alert = {
        "exp_labels": {**labels, "namespace": "prod", "severity": "critical"},
        "exp_annotations": {
            **down["annotations"],
            "summary": summary,
            "dashboard_url": f"{page}{link}&var-namespace=prod",
        },
    }
    case = {
        "interval": "1m",
        "input_series": [
            {"series": 'up{job="huey", namespace="staging"}', "values": "1x20"}
        ],
        "alert_rule_test": [
            {"alertname": "HueyConsumerDown", "eval_time": "5m", "exp_alerts": [alert]}
        ],
    }
    whole = {"rule_files": ["rules.yml"], "tests": [case]}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(whole))

    done = promtool(installed("promtool"), "test", "rules", str(tmp_path / "cases.yml"))

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("grouping", [[], ["job"], ["job", "namespace", "cluster"]])
def test_promtool_accepts_other_settings(grouping: list[str], tmp_path: Path) -> None:
    text = (
        f'grouping = {grouping}\nselector = \'env="x", namespace=~"a|b"\'\n'
        "expected = ['job=\"a\"']\nproducers = 'job=\"web\"'\n"
        f"ignore_tasks = ['a\\.b']\n{SLO}wait_seconds = 0.05\n"
        + SLO.replace('"a"', '"b"')
        + "task = 'x\\.y'\n"
    )
    for name, made_text in files(settings_of(text)).items():
        (tmp_path / name).write_text(made_text)

    for name in (RULES, OBJECTIVES):
        done = promtool(
            *(installed("promtool"), "check", "rules", "--lint-fatal"),
            str(tmp_path / name),
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_burn_rate_that_nothing_reaches_has_no_alert() -> None:
    groups = yaml.safe_load(files(settings_of(SLO.replace("99", "80")))[OBJECTIVES])
    alerts = [
        rule["labels"]["window"]
        for rule in groups["groups"][0]["rules"]
        if "alert" in rule
    ]

    assert alerts == ["3d"]


def test_sloth_gets_each_objective_as_one_series() -> None:
    other = "[[slo]]\nname = 'b'\nqueue = 'q'\ntask = 't'\nobjective = 99.5"
    text = f"{SLO}wait_seconds = 10\n{other}"
    spec = yaml.safe_load(files(settings_of(text))[SLOTH])

    first, second = spec["slos"]
    assert (spec["version"], spec["service"]) == ("prometheus/v1", "huey")
    assert (first["name"], first["objective"]) == ("a", 99)
    count = 'sum (rate(huey_task_wait_seconds_count{queue=~"shop"}[{{.window}}]))'
    within = (
        'sum (rate(huey_task_wait_seconds_bucket{queue=~"shop", le=~"10([.]0)?"}'
        "[{{.window}}]))"
    )
    assert first["sli"]["events"] == {
        "error_query": f"{count} - {within}",
        "total_query": count,
    }
    assert second["objective"] == 99.5
    assert second["sli"]["events"]["error_query"] == (
        'sum (rate(huey_tasks_finished_total{queue=~"q", task=~"t",'
        ' outcome=~"failure|timeout|lost"}[{{.window}}]))'
    )
    assert first["alerting"]["annotations"]["runbook_url"].endswith(
        "alerts.md#hueywaitbudgetburns"
    )


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command, with the standard library alone."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _COMMAND, str(ROOT), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


_COMMAND = """
import sys, runpy
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("runtime.prometheus.rules", run_name="__main__", alter_sys=True)
"""


def test_command_writes_the_files_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SLO)

    done = run("mine.toml", str(tmp_path), cwd=tmp_path)

    names = [RULES, OBJECTIVES, SLOTH]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(tmp_path / name) for name in names]
    expected = files(read(tmp_path / "mine.toml"))
    assert {name: (tmp_path / name).read_text() for name in names} == expected


def test_command_without_settings_writes_the_rules_alone(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "rules.yml\n")
    assert [path.name for path in tmp_path.iterdir()] == [RULES]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"tasks = 1", "unknown setting tasks"),
        (None, "No such file"),
        (b'labels = {team = "\xff"}', "mine.toml: this is not UTF-8"),
    ],
)
def test_command_writes_nothing_for_wrong_settings(
    text: bytes | None, said: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "mine.toml").write_bytes(text)
    before = set(tmp_path.iterdir())

    done = run("mine.toml", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_command_says_in_a_line_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("")

    done = run("mine.toml", "nowhere", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "No such file or directory: 'nowhere/rules.yml'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('service = "é"', "utf-8-sig")

    assert read(tmp_path / "mine.toml").service == "é"


def test_settings_of_the_documents_are_accepted() -> None:
    rules = made(snippet("docs/alerts.md", "settings"))

    assert "HueyNoScheduler" not in rules
    assert "> 5000" in rules["HueyBacklog"]["expr"]


def test_runbook_is_where_the_project_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    homes = {
        url.rstrip("/")
        for name, url in project.get("urls", {}).items()
        if name.lower() in ("homepage", "repository", "source")
    }

    assert all(settings_of("").runbook_url.startswith(home) for home in homes)
