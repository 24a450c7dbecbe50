"""The documents say what the code does."""

import re
import runpy

import pytest

from huey_otel import _names as n
from huey_otel._instrument import OPTIONS
from tests.support import ROOT

TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))
DOCUMENTS = TABLES["documents"]()
ENVIRONMENT = sorted(
    value for name, value in vars(n).items() if name.startswith("ENV_")
)


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


def test_the_one_call_of_the_readme_runs(monkeypatch):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None
    names = {}

    exec(block[1], names)

    assert names["huey"].name == "my-app"
