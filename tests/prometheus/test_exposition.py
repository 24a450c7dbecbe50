"""The page equals what prometheus_client's own encoder writes of the same metrics."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from huey_otel._prometheus import exposition
from huey_otel._prometheus.claims import register
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.exposition import HistogramFamily, NumberFamily, expose
from huey_otel._prometheus.pages import Pages
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import TaskFacts
from tests.support.metrics import SOURCE, TASK, consumer, record, run

OPENMETRICS = "application/openmetrics-text"
QUICK = [
    "",
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    OPENMETRICS,
    f"{OPENMETRICS};version=0.0.1",
    f"{OPENMETRICS};version=1.0.0;escaping=underscores,text/plain;q=0.5",
    f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8",
    f"{OPENMETRICS};version=1.0.0;escaping=values",
    f"{OPENMETRICS};version=2.0.0",
]
# It doubles each underscore.
DOTTED = f"{OPENMETRICS};version=1.0.0;escaping=dots"
ODD = ['app.o"dd', "app.back\\slash", "app.new\nline", "app.{ü}%s", "app.nu\0l", "99"]


OF_FILES = {"queue": "shop", "task": TASK, "origin": "call"}


class Others:
    """A collector of the application's, with a time of its own for each sample."""

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("app_temperature", "Of a \\ room.", labels=["room"])
        family.add_metric(["hall"], 21.5, timestamp=1_700_000_000.25)
        yield family


class Named:
    """A collector of all that *registry* has, which claims all names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        return iter(list(self._registry.collect()))


@pytest.fixture
def metrics() -> Collector:
    made = Collector()
    made.add_consumer(1, consumer(TASK, "app.never", *ODD))
    trace = {"trace_id": 0x0AF7651916CD43DD8448EB211C80319C, "span_id": 0xB7AD6B716920}
    for number, name in enumerate((TASK, *ODD)):
        seconds = number**4 / 7
        for key, outcome in enumerate(("success", "error"), start=1):
            run(made, key=key, name=name, outcome=outcome, duration=seconds)
        facts = TaskFacts("id", "add", name, None, None, 1)._replace(**trace)
        started = record("started", key=3, name=name, wait=seconds)
        made(started._replace(facts=tuple(facts)), SOURCE)
        made(record("ended", key=3, name=name, outcome="locked"), SOURCE)
        made(record("error-task", name=name, exception="app.Oops"), SOURCE)
    made(record("error-dequeueing", name=None, count=12_345_678), SOURCE)
    return made


@pytest.fixture
def registry(metrics: Collector) -> CollectorRegistry:
    """The application's metrics on either side of ours."""
    made = CollectorRegistry()
    Counter("app_orders", "Orders.", ["shop"], registry=made).labels("a").inc(3)
    made.register(Others())
    register(metrics, made)
    Histogram("app_basket", "Euros.", registry=made).observe(3, {"trace_id": "1"})
    Gauge("app_open", 'Whether it is "open".', registry=made).set(float("nan"))
    return made


def body(registry: CollectorRegistry, accept: str, query: str = "") -> bytes:
    pages = Pages(registry, lambda: None, lambda: None)
    return pages.get(f"/metrics{query}", accept).body


@pytest.mark.parametrize("accept", [*QUICK, DOTTED])
def test_page_is_that_of_the_clients_encoder_to_the_byte(registry, accept):
    encode, _ = choose_encoder(accept)

    assert body(registry, accept) == encode(registry)


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
@pytest.mark.parametrize(
    "names",
    [
        ["huey_task_attempts_total", "app_open"],
        ["huey_task_wait_seconds_sum"],
        ["huey_task_wait_seconds_bucket", "huey_task_wait_seconds_count"],
        ["huey_task_wait_seconds"],
        ["huey_consumer_info"],
        ["missing"],
    ],
    ids=" ".join,
)
def test_page_of_some_names_is_that_of_the_clients_encoder(registry, accept, names):
    encode, _ = choose_encoder(accept)
    query = "?" + "&".join(f"name[]={name}" for name in names)

    claiming = CollectorRegistry(auto_describe=True)
    claiming.register(Named(registry))
    expected = encode(claiming.restricted_registry(names))

    # It goes through a set of collectors, so the order changes.
    assert sorted(body(registry, accept, query).splitlines()) == sorted(
        expected.splitlines()
    )


@pytest.mark.parametrize("accept", QUICK)
def test_page_is_written_without_making_samples(registry, accept, monkeypatch):
    made = []
    for kind in (NumberFamily, HistogramFamily):
        monkeypatch.setattr(kind, "_samples", lambda one: iter(made.append(one) or ()))
    monkeypatch.setattr(exposition, "_writes_as_we_do", lambda *_, **__: True)

    page = body(registry, accept)

    assert made == []
    assert b"huey_task_wait_seconds_bucket" in page


def test_task_name_that_is_not_utf_8_is_escaped(metrics, registry):
    name = "caf\udce9.add"
    metrics(record("started", name=name), SOURCE)

    page = body(registry, "")

    assert b'huey_task_attempts_total{queue="shop",task="caf\\\\udce9.add"} 1.0' in page


@pytest.mark.parametrize("accept", ["", OPENMETRICS, DOTTED])
def test_application_label_that_is_not_utf_8_is_escaped(registry, accept):
    odd = Counter("app_uploads", "Of \ud83c.", ["file"], registry=registry)
    odd.labels("caf\udce9").inc()
    odd.labels("tea").inc(2)

    page = body(registry, accept).decode()

    uploads = [line for line in page.splitlines() if 'file="' in line]
    assert [line for line in uploads if 'file="caf\\\\udce9"} 1.0' in line] != []
    assert [line for line in uploads if 'file="tea"} 2.0' in line] != []
    assert "task_wait" in page.replace("__", "_")


@pytest.mark.parametrize("accept", ["", OPENMETRICS, DOTTED])
def test_count_that_multi_process_files_have_as_well_is_shown_once(registry, accept):
    class Files:
        def collect(self) -> Iterator[Metric]:
            family = Metric("huey_tasks_enqueued", "Of before.", "counter")
            family.add_sample("huey_tasks_enqueued_total", OF_FILES, 1.0)
            yield family

    without = body(registry, accept)
    registry.register(Files())

    assert body(registry, accept) == without


def test_encoder_that_writes_otherwise_writes_the_whole_page(registry, monkeypatch):
    def shout(collected) -> bytes:
        return choose_encoder("")[0](collected).upper()

    collected = list(registry.collect())
    monkeypatch.setattr(exposition, "choose_encoder", lambda _: (shout, "text/plain"))

    assert expose(collected, "") == ("text/plain", shout(registry))
    assert LOSSES.counts() == {}
