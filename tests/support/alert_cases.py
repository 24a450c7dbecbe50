"""Cases of the alerts, for promtool: as they are written, and in other shapes.

A case is a test of promtool's, written for consumers' own endpoints in one environment.
Of an alert that is expected it has the labels and the summary; the other annotations
are filled in from the rule, so that promtool compares all of them.
"""

import copy
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import yaml

from huey_otel._prometheus.catalog import OF_STORAGE
from tests.support.programs import ROOT

Case = dict[str, Any]

CASES = ROOT / "tests" / "assets" / "alerts"
ENVIRONMENTS = ("prod", "staging")
EXPORTER = "exporter:9465"

# Who enqueues is in another job, so these have none.
WITHOUT_JOB = ("HueyNotDraining",)
OF_TARGETS = ("HueyConsumerDown", "HueyExporterDown")


class _Loader(yaml.SafeLoader):
    """Reads YAML, where the values 0x20 are no number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in some if not tag.endswith(":int")]
    for first, some in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^-?\d+$"), list("-0123456789")
)

_SERIES = re.compile(r"^([\w:]+)(?:{(.*)})?$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WITH = re.compile(
    r"{{ with \$labels\.(\w+) }}((?:(?!{{ (?:with|end)).)*?)"
    r"(?:{{ else }}((?:(?!{{ (?:with|end)).)*?))?{{ end }}"
)


def cases(*subjects: str) -> list[Case]:
    """The cases in the files of *subjects*, by default of all but the objectives."""
    names = subjects or sorted(
        path.stem for path in CASES.glob("*.yml") if path.stem != "objectives"
    )
    return [
        case
        for name in names
        for case in yaml.load((CASES / f"{name}.yml").read_text(), _Loader)
    ]


def as_written(case: Case) -> Case:
    return copy.deepcopy(case)


def two_environments(case: Case) -> Case:
    """The same happens in two environments at once, with one job and queue names."""
    series = [
        {**one, "series": _labelled(one["series"], namespace=name)}
        for one in case["input_series"]
        for name in ENVIRONMENTS
    ]
    return _expecting(case, series, ENVIRONMENTS)


def pages(case: Case) -> Case:
    """All consumers are behind one exporter, which also asks their storage, once."""
    up = {"series": f'huey_exporter_up{{instance="{EXPORTER}"}}', "values": "1x600"}
    series, asked = [up], set()
    for one in case["input_series"]:
        name, labels = _parsed(one["series"])
        if name == "up":
            continue
        if "instance" in labels:
            labels["consumer"] = labels["instance"]
        labels["instance"] = EXPORTER
        if name in OF_STORAGE:
            labels.pop("consumer", None)
            if (name, labels["queue"]) in asked:
                continue
            asked.add((name, labels["queue"]))
        series.append({**one, "series": _text(name, labels)})
    changed = _expecting(case, series, ("prod",), add_namespace=False)
    changed["alert_rule_test"] = [
        one for one in changed["alert_rule_test"] if one["alertname"] not in OF_TARGETS
    ]
    for one in _expected(changed):
        labels = one["exp_labels"]
        if "instance" in labels:
            labels["consumer"], labels["instance"] = labels["instance"], EXPORTER
    return changed


SHAPES: dict[str, Callable[[Case], Case]] = {
    "written": as_written,
    "environments": two_environments,
    "pages": pages,
}


def in_shape(shape: str, found: list[Case]) -> list[Case]:
    """The cases of *found* that there are in *shape*, changed to it."""
    changed = [SHAPES[shape](one) for one in found if shape in one.get("only", SHAPES)]
    for one in changed:
        one.pop("only", None)
    return changed


def promtool_file(found: list[Case], rules: Path, told: str) -> str:
    """The file for promtool, which compares *found* with what *rules* make.

    The texts of alerts are filled in from the rules in the text *told*.
    """
    alerts = [
        rule
        for group in yaml.safe_load(told)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    for case in found:
        for test in case.get("alert_rule_test", ()):
            for one in test["exp_alerts"]:
                (rule,) = (
                    rule
                    for rule in alerts
                    if rule["alert"] == test["alertname"]
                    and rule["labels"].items() <= one["exp_labels"].items()
                )
                one["exp_annotations"] = {
                    key: one["exp_annotations"].get(key) or _filled(text, one)
                    for key, text in rule["annotations"].items()
                }
    return yaml.safe_dump(
        {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": found}
    )


def promtool(
    program: str, *arguments: str, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def _filled(template: str, alert: Mapping[str, Any]) -> str:
    """*template* with the labels of *alert*."""
    labels = alert["exp_labels"]

    def chosen(match: re.Match[str]) -> str:
        name, then, otherwise = match.groups()
        value = labels.get(name, "")
        if not value:
            return otherwise or ""
        query = then.replace("{{ . | urlquery }}", quote_plus(value))
        return query.replace("{{ . }}", value)

    text = template
    while (changed := _WITH.sub(chosen, text)) != text:
        text = changed
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels.get(m[1], ""), text)
    assert "{{" not in text, text
    return text


def _expecting(
    case: Case,
    series: list[dict[str, str]],
    environments: tuple[str, ...],
    *,
    add_namespace: bool = True,
) -> Case:
    """*case* of *series*, with each alert once for each of *environments*."""
    changed = copy.deepcopy(case)
    changed["input_series"] = [
        {**one, "series": _labelled(one["series"], job="huey")} for one in series
    ]
    # What expressions make is compared as written.
    changed.pop("promql_expr_test", None)
    changed.setdefault("alert_rule_test", [])
    for test in changed["alert_rule_test"]:
        job = {} if test["alertname"] in WITHOUT_JOB else {"job": "huey"}
        test["exp_alerts"] = [
            {
                **copy.deepcopy(one),
                "exp_labels": {
                    **job,
                    **({"namespace": name} if add_namespace else {}),
                    **one["exp_labels"],
                },
            }
            for one in test["exp_alerts"]
            for name in environments
        ]
    return changed


def _expected(case: Case) -> Iterator[dict[str, Any]]:
    for test in case["alert_rule_test"]:
        yield from test["exp_alerts"]


def _parsed(series: str) -> tuple[str, dict[str, str]]:
    match = _SERIES.match(series)
    assert match, series
    return match[1], dict(_LABEL.findall(match[2] or ""))


def _text(name: str, labels: Mapping[str, str]) -> str:
    inside = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def _labelled(series: str, **labels: str) -> str:
    """*series* with *labels* as well, where it has none of that name."""
    name, own = _parsed(series)
    return _text(name, {**labels, **own})
