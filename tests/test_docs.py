"""The documents say what the code does."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import asdict
from types import ModuleType

import pytest
from huey import MemoryHuey
from huey.signals import SIGNAL_COMPLETE
from prometheus_client import Counter

from huey_otel import _names as n
from huey_otel import instrument
from huey_otel._options.table import OPTIONS, VARIABLES
from huey_otel._prometheus.catalog import CATALOG
from huey_otel.cli import exit_codes
from huey_otel.cli.main import COMMANDS
from huey_otel.cli.output import json_line
from huey_otel.cli.top.snapshot import Backlog, Snapshot
from huey_otel.testing import capture
from tests.live.received_events import ALWAYS, FAILED
from tests.support.programs import (
    ROOT,
    bare_environment,
    missing,
    run_program,
    snippet,
)

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
def test_each_option_is_among_the_settings(option):
    assert f"| `{option}` |" in (ROOT / "docs" / "settings.md").read_text()


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


@pytest.mark.parametrize(
    "name",
    sorted(
        value
        for name, value in vars(n).items()
        if name.startswith(("EVENT_", "WORKER_", "EXCEPTION_T"))
        and str(value).startswith(("huey.", "exception."))
        and not value.endswith(".")
    ),
)
def test_each_attribute_of_a_log_record_is_documented(name):
    assert f"`{name}`" in (ROOT / "docs" / "events.md").read_text()


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
    assert block[1] == snippet("docs/index.md", "call")


def test_events_of_a_queue_that_is_not_on_redis_go_where_the_document_says():
    huey = MemoryHuey("my-app")

    exec(
        snippet("docs/start.md", "elsewhere"), {"huey": huey, "instrument": instrument}
    )

    with instrument(huey) as instrumentation:
        assert "redis://localhost:6379" in repr(instrumentation)


def test_a_handler_of_signals_counts_beside_us():
    huey = MemoryHuey("my-app", immediate=True)
    done = Counter("done", "Tasks that were done.", ["task"], registry=None)
    names = {"huey": huey, "done": done, "SIGNAL_COMPLETE": SIGNAL_COMPLETE}

    exec(snippet("docs/moving.md", "handler"), names)
    with instrument(huey, events=None, metrics_port=None):
        huey.task()(len)([])

    assert done.labels("len")._value.get() == 1


def test_the_patches_of_the_document_come_first():
    check = "import socket\nprint(monkey.is_module_patched('socket'))"

    done = run_program(snippet("docs/deploy.md", "patches"), check)

    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_collector_of_the_document_uses_what_it_defines():
    # The environment with the oldest versions has none, and only collects this.
    import yaml

    collector = yaml.safe_load(snippet("docs/events.md", "collector"))

    (pipeline,) = collector["service"]["pipelines"].values()
    for kind in ("receivers", "exporters"):
        assert sorted(pipeline[kind]) == sorted(collector[kind])


def test_the_work_of_a_queue_is_the_sum_of_what_the_document_says():
    queue = json.loads(snippet("docs/scale.md", "queues"))

    assert queue["work"] == queue["waiting"] + queue["due"] + queue["running"]


def test_the_event_of_the_document_is_one():
    event = json.loads(snippet("docs/events.md", "event"))

    assert set(event) == {*ALWAYS, *FAILED, "duration"}


@pytest.fixture
def app(monkeypatch):
    app = ModuleType("app")
    exec(APPLICATION, vars(app))
    monkeypatch.setitem(sys.modules, "app", app)
    return app


def test_the_test_in_the_docs_passes(app):
    names = {}

    exec(snippet("docs/testing.md", "testing"), names)
    names["test_an_order_is_shipped"]()

    assert app.orders == [7]


def test_the_test_in_immediate_mode_passes():
    names = {}

    exec(snippet("docs/testing.md", "immediate"), names)
    names["test_a_failure_is_told"]()


def test_what_a_test_waits_for_comes(app):
    with capture(app.huey) as telemetry:
        app.order(7)
        app.huey.execute(app.huey.dequeue())
        exec(snippet("docs/testing.md", "waiting"), {"telemetry": telemetry})

        assert len(telemetry.events) == 2


def test_promtool_takes_what_scrapes_a_consumer(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool")
    path = tmp_path / "prometheus.yml"
    path.write_text(snippet("docs/metrics.md", "scrape"))

    done = subprocess.run(
        [promtool, "check", "config", "--lint-fatal", path],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sampler_of_the_document_can_be_made():
    exec(snippet("docs/traces.md", "sampler"), {})


def flags():
    """The flags of all commands, as their help texts have them."""
    shown = subprocess.run(
        ["bash", "-c", "; ".join(f"{COMMAND} {name} --help" for name in COMMANDS)],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(re.findall(r"--[a-z][-a-z]*", shown))


COMMAND = f"{sys.executable} -m huey_otel"


def test_each_flag_of_the_command_is_documented_and_each_that_is_documented_exists():
    documented = re.findall(r"--[a-z][-a-z]*", (ROOT / "docs/command.md").read_text())

    assert set(documented) | {"--version"} == flags() | {"--version"}


def test_each_exit_code_of_the_command_is_documented():
    listed = re.findall(r"^\| (\d+) \|", (ROOT / "docs/command.md").read_text(), re.M)

    assert sorted(map(int, listed)) == sorted(
        code for name, code in vars(exit_codes).items() if name.isupper()
    )


def test_jq_reads_what_the_command_prints():
    if shutil.which("jq") is None:
        missing("jq")
    events = [
        {"status": "started", "name": "app.add"},
        {"status": "finished", "name": "app.\x1b[2J", "duration": 5.5},
        {"status": "finished", "name": "app.add", "duration": 4.5},
    ]
    _, _, reader = snippet("docs/command.md", "jq").partition(" | ")

    done = subprocess.run(
        ["bash", "-c", reader],
        input="".join(json_line(event) + "\n" for event in events),
        capture_output=True,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("app.\x1b[2J\t5.5\n", "")


def test_jq_reads_what_top_prints():
    if shutil.which("jq") is None:
        missing("jq")
    backlog = Backlog(waiting=3, scheduled=0, results=0, oldest=1.5, overdue=None)
    shown = Snapshot(queue="my-app", server="redis://cache", at=1.0, backlog=backlog)
    _, _, reader = snippet("docs/command.md", "top").partition(" | ")

    done = subprocess.run(
        ["bash", "-c", reader],
        input=json_line(asdict(shown)),
        capture_output=True,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("3\n", "")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_block_in_a_language_is_run(path):
    """But for the first one of the README, which has a test without a mark."""
    text = path.read_text()
    blocks = re.findall(r"^(.*)\n```\w+\n", text, re.MULTILINE)

    unmarked = [before for before in blocks if "<!-- run by a test: " not in before]

    assert unmarked == ([""] if path.name == "README.md" else [])


def test_each_block_that_is_run_is_run_by_a_test():
    marked = {
        (str(path.relative_to(ROOT)), name)
        for path in DOCUMENTS
        for name in re.findall(r"<!-- run by a test: (.+?) -->", path.read_text())
    }
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert marked == set(re.findall(r'snippet\("([^"]+)", "([^"]+)"\)', tests))
