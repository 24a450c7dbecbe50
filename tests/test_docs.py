"""The documents say what the code does."""

import json
import re
import runpy
import shutil
import subprocess

import pytest

from huey_otel import _names as n
from huey_otel._catalog import CATALOG
from huey_otel._options.table import OPTIONS, VARIABLES
from tests.support import ROOT, missing

TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))
DOCUMENTS = TABLES["documents"]()
ENVIRONMENT = sorted({*VARIABLES, n.ENV_OTEL_HOST, n.ENV_OTEL_PORT})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_those_of_the_mapping(path):
    text = path.read_text()

    assert TABLES["rewritten"](text) == text


def test_each_table_is_somewhere():
    everything = "".join(path.read_text() for path in DOCUMENTS)

    assert set(re.findall(r"<!-- (\w+) -->", everything)) == set(TABLES["TABLES"])


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_each_variable_of_the_environment_is_documented(name):
    assert any(f"`{name}`" in path.read_text() for path in DOCUMENTS)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_is_in_the_readme(option):
    assert f"`{option}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "name",
    sorted(
        value
        for name, value in vars(n).items()
        if name.startswith(("MESSAGING_", "TASK_", "WORKER_NAME", "CHORD_", "ERROR_T"))
        and str(value).startswith(("messaging.", "huey.", "error."))
    ),
)
def test_each_attribute_of_a_span_is_documented(name):
    assert f"| `{name}` |" in (ROOT / "docs" / "traces.md").read_text()


@pytest.mark.parametrize("reason", n.LOSS_REASONS)
def test_each_reason_of_a_loss_is_documented(reason):
    assert f"| `{reason}` |" in (ROOT / "docs" / "metrics.md").read_text()


QUERIES = TABLES["QUERIES"]


def test_each_metric_has_a_query_about_it():
    assert set(QUERIES) == set(CATALOG)
    for name, query in QUERIES.items():
        recorded = name == "huey_results" and "queue:huey_results:max" in query
        assert recorded or re.search(rf"\b{name}(_bucket)?\b", query)


@pytest.mark.parametrize(
    "name", [one.name for one in CATALOG.values() if "never sum" in one.help]
)
def test_query_of_what_each_consumer_says_takes_the_max(name):
    assert re.search(rf"max by \(\w+\) \({name}\)|:{name}:max", QUERIES[name])


def test_promtool_understands_each_query(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool")
    rules = [
        {"record": f"docs:{name}:query", "expr": query}
        for name, query in QUERIES.items()
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "docs", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_one_call_of_the_readme_runs(monkeypatch):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None
    names = {}

    exec(block[1], names)

    assert names["huey"].name == "my-app"
