"""The documents say what the code does."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from types import ModuleType

import pytest

from huey_otel import _names as n
from huey_otel._options.table import OPTIONS, VARIABLES
from huey_otel._prometheus.catalog import CATALOG
from tests.live.received_events import ALWAYS, FAILED
from tests.support.programs import ROOT, missing, snippet

pytestmark = pytest.mark.once

TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))
DOCUMENTS = TABLES["documents"]()
ENVIRONMENT = sorted(
    {*VARIABLES, *(one.standard for one in OPTIONS.values() if one.standard)}
)


APPLICATION = """
from huey import MemoryHuey
from huey_otel import instrument
huey, orders = MemoryHuey("app"), []
instrument(huey)
@huey.task()
def order(number):
    orders.append(number)
"""


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


def test_the_event_of_the_readme_is_one():
    event = json.loads(snippet("README.md", "event"))

    assert set(event) == {*ALWAYS, *FAILED, "duration"}


def test_the_test_of_the_readme_passes(monkeypatch):
    app = ModuleType("app")
    exec(APPLICATION, vars(app))
    monkeypatch.setitem(sys.modules, "app", app)
    names = {}

    exec(snippet("README.md", "testing"), names)
    names["test_an_order_is_shipped"]()

    assert app.orders == [7]


def test_promtool_takes_what_scrapes_a_consumer(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool")
    path = tmp_path / "prometheus.yml"
    path.write_text(snippet("README.md", "scrape"))

    done = subprocess.run(
        [promtool, "check", "config", "--lint-fatal", path],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sampler_of_the_document_can_be_made():
    exec(snippet("docs/traces.md", "sampler"), {})


def test_each_block_that_is_run_is_run_by_a_test():
    marked = {
        (str(path.relative_to(ROOT)), name)
        for path in DOCUMENTS
        for name in re.findall(r"<!-- run by a test: (.+?) -->", path.read_text())
    }
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert marked == set(re.findall(r'snippet\("([^"]+)", "([^"]+)"\)', tests))
