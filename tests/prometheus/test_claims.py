"""The names of our metrics stay the application's, even if it declares them later."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from huey_otel import _names as n
from huey_otel._prometheus.claims import register
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.pages import Pages
from huey_otel._prometheus.producer import ProducerCounter
from huey_otel._safety.losses import Losses
from tests.live.scraping import samples
from tests.support.metrics import TASK, consumer, run
from tests.support.programs import missing, run_program

OPENMETRICS = "application/openmetrics-text"
HELP = "The application's."

Declare = Callable[[CollectorRegistry], object]

# What the application declares, and our family that gives way to it.
DECLARED: dict[str, tuple[Declare, str]] = {
    "gauge": (lambda to: Gauge("huey_workers", HELP, registry=to), "huey_workers"),
    "counter": (
        lambda to: Counter("huey_tasks_enqueued", HELP, registry=to),
        "huey_tasks_enqueued",
    ),
    "gauge of a counter's base": (
        lambda to: Gauge("huey_tasks_enqueued", HELP, registry=to),
        "huey_tasks_enqueued",
    ),
    "gauge of a counter's total": (
        lambda to: Gauge("huey_tasks_enqueued_total", HELP, registry=to),
        "huey_tasks_enqueued",
    ),
    "gauge of a counter's time": (
        lambda to: Gauge("huey_tasks_enqueued_created", HELP, registry=to),
        "huey_tasks_enqueued",
    ),
    "gauge of a histogram's sum": (
        lambda to: Gauge("huey_task_duration_seconds_sum", HELP, registry=to),
        "huey_task_duration_seconds",
    ),
    "gauge of a histogram's bucket": (
        lambda to: Gauge("huey_task_wait_seconds_bucket", HELP, registry=to),
        "huey_task_wait_seconds",
    ),
    "summary": (
        lambda to: Summary("huey_task_wait_seconds", HELP, registry=to),
        "huey_task_wait_seconds",
    ),
    "histogram of a gauge": (
        lambda to: Histogram("huey_workers", HELP, registry=to),
        "huey_workers",
    ),
    "info": (lambda to: Info("huey_consumer", HELP, registry=to), "huey_consumer"),
    "gauge of an info": (
        lambda to: Gauge("huey_consumer_info", HELP, registry=to),
        "huey_consumer",
    ),
}


class Nameless:
    """A collector of the application's without `describe`."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("huey_workers", HELP, value=7)


@pytest.fixture
def metrics() -> Collector:
    made = Collector()
    made.add_consumer(1, consumer(TASK))
    run(made)
    return made


def families(registry: CollectorRegistry) -> list[str]:
    return [metric.name for metric in registry.collect()]


def page(registry: CollectorRegistry, accept: str = "", query: str = "") -> str:
    pages = Pages(registry, lambda: None, lambda: None)
    return pages.get(f"/metrics{query}", accept).body.decode()


def promtool_takes(text: str) -> bool:
    promtool = shutil.which("promtool") or missing("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True
    )
    # It would have the application name some of these otherwise.
    return "error while linting" not in done.stderr and done.returncode in (0, 3)


@pytest.mark.parametrize("auto_describe", [False, True], ids=["plain", "describing"])
@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
@pytest.mark.parametrize("case", DECLARED.values(), ids=DECLARED)
def test_a_metric_of_the_application_takes_the_place_of_ours(
    case: tuple[Declare, str],
    metrics: Collector,
    losses: Losses,
    caplog: pytest.LogCaptureFixture,
    *,
    first: bool,
    auto_describe: bool,
) -> None:
    declare, ours = case
    registry = CollectorRegistry(auto_describe=auto_describe)
    steps = [lambda: register(metrics, registry), lambda: declare(registry)]
    for step in steps[::-1] if first else steps:
        step()

    shown = families(registry)
    texts = [page(registry), page(registry), generate_latest(registry).decode()]
    strict = text_string_to_metric_families(page(registry, OPENMETRICS))

    assert len(set(shown)) == len(shown) == len(list(strict))
    others = {metric.name for metric in metrics.collect()} - {ours}
    assert others <= set(shown)
    assert all(promtool_takes(text) for text in texts)
    assert all(HELP in text for text in texts)
    assert losses.counts() == {n.LOSS_INTERNAL: 1}
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"so {ours} of huey-otel is not shown; give instrument() a registry=" in said


def test_our_metric_is_back_when_the_application_unregisters_its_own(
    metrics: Collector, losses: Losses
) -> None:
    registry = CollectorRegistry()
    register(metrics, registry)
    before = families(registry)

    theirs = Gauge("huey_workers", HELP, registry=registry)
    meanwhile = page(registry)
    registry.unregister(theirs)

    assert HELP in meanwhile
    assert HELP not in page(registry)
    assert families(registry) == before
    assert losses.counts() == {n.LOSS_INTERNAL: 1}


def test_a_collector_that_names_nothing_takes_the_place_of_ours(
    metrics: Collector, losses: Losses
) -> None:
    registry = CollectorRegistry()
    register(metrics, registry)
    registry.register(Nameless())

    text = page(registry)

    assert [line for line in text.splitlines() if "huey_workers" in line.split()] == [
        f"# HELP huey_workers {HELP}",
        "# TYPE huey_workers gauge",
        "huey_workers 7.0",
    ]
    assert losses.counts() == {n.LOSS_INTERNAL: 1}


def test_target_info_is_beside_ours(metrics: Collector) -> None:
    registry = CollectorRegistry(target_info={"env": "prod"})
    register(metrics, registry)

    assert 'target_info{env="prod"} 1.0' in page(registry)
    assert page(registry, query="?name[]=target_info&name[]=huey_consumer_info") == (
        page(registry, query="?name[]=target_info")
        + page(registry, query="?name[]=huey_consumer_info")
    )


def test_a_name_that_is_asked_for_is_the_applications_alone(
    metrics: Collector, losses: Losses
) -> None:
    registry = CollectorRegistry()
    register(metrics, registry)
    Gauge("huey_workers", HELP, registry=registry).set(7)

    text = page(registry, query="?name[]=huey_workers&name[]=huey_consumer_info")

    assert {name for name, _ in samples(text)} == {"huey_workers", "huey_consumer_info"}
    assert text.count("# TYPE huey_workers ") == 1
    assert losses.counts() == {n.LOSS_INTERNAL: 1}


def test_unregister_twice_is_no_error(
    metrics: Collector,
) -> None:
    registry = CollectorRegistry()
    shown = register(metrics, registry)
    registry.unregister(shown)

    shown.unregister()

    assert families(registry) == []


@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
def test_a_producer_counter_gives_way_as_well(losses: Losses, *, first: bool) -> None:
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    if not first:
        counter.inc("shop", TASK, "call")
    theirs = Counter("huey_tasks_enqueued", HELP, ["kind"], registry=registry)
    theirs.labels("mail").inc(3)
    counter.inc("shop", TASK, "call")

    text = generate_latest(registry).decode()

    assert (
        samples(text)["huey_tasks_enqueued_total", frozenset([("kind", "mail")])] == 3
    )
    assert text.count("# TYPE huey_tasks_enqueued_total ") == 1
    assert TASK not in text
    assert losses.counts() == {n.LOSS_INTERNAL: 1}
    assert sum(counter.retired().values()) == (1 if first else 2)


FILES = """
import os, sys
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from huey_otel._safety.losses import LOSSES
from huey_otel._prometheus.pages import Pages
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.producer import ProducerCounter
from huey_otel._prometheus.claims import register
from tests.support.metrics import consumer
registry = CollectorRegistry()
MultiProcessCollector(registry)
counter = ProducerCounter(registry)
"""


def of_files(directory: Path, program: str) -> dict[Any, float]:
    """What is on the page that *program* prints in multi-process mode."""
    done = run_program(FILES, program, PROMETHEUS_MULTIPROC_DIR=str(directory))
    assert done.returncode == 0, done.stderr
    assert promtool_takes(done.stdout)
    return samples(done.stdout)


def test_a_producer_stays_out_of_the_files_of_the_applications_metric(
    tmp_path: Path,
) -> None:
    found = of_files(
        tmp_path,
        """
theirs = Counter("huey_tasks_enqueued", "The application's.", ["kind"])
theirs.labels("mail").inc(3)
counter.inc("shop", "app.add", "call")
print(generate_latest(registry).decode())
""",
    )

    assert found == {("huey_tasks_enqueued_total", frozenset([("kind", "mail")])): 3}


def test_the_applications_metric_in_files_takes_the_place_of_a_consumers(
    tmp_path: Path,
) -> None:
    found = of_files(
        tmp_path,
        """
counter.inc("shop", "app.add", "call")
metrics = Collector(enqueued=counter.retired())
metrics.add_consumer(1, consumer("app.add"))
register(metrics, registry)
Gauge("huey_workers", "The application's.", multiprocess_mode="max").set(7)
print(Pages(registry, lambda: None, lambda: None).get("/metrics", "").body.decode())
""",
    )

    assert {key: value for key, value in found.items() if key[0] == "huey_workers"} == {
        ("huey_workers", frozenset()): 7
    }
    of_add = [("queue", "shop"), ("task", "app.add"), ("origin", "call")]
    assert found["huey_tasks_enqueued_total", frozenset(of_add)] == 1


def test_counter_of_the_application_in_files_hides_ours(tmp_path: Path) -> None:
    found = of_files(
        tmp_path,
        """
counter.inc("shop", "app.add", "call")
metrics = Collector(enqueued=counter.retired())
register(metrics, registry)
theirs = Counter("huey_tasks_enqueued", "The application's.", ["kind"])
theirs.labels("mail").inc(3)
print(Pages(registry, lambda: None, lambda: None).get("/metrics", "").body.decode())
""",
    )

    assert {
        key: value
        for key, value in found.items()
        if key[0].startswith("huey_tasks_enq")
    } == {("huey_tasks_enqueued_total", frozenset([("kind", "mail")])): 3}
