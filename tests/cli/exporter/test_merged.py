"""The merged page: series of several pages, each known, none twice, all parsable."""

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.exposition import NumberFamily
from huey_otel._prometheus.own_page import own_page
from huey_otel.cli.exporter.merged import KnownSeries, MergedPage
from tests.support.metrics import (
    SOURCE,
    TRACE_ID,
    consumer,
    feed,
    live_tasks,
    random_records,
    record,
    sampled,
)

RETRIES = 'huey_task_retries_total{queue="q",task="t"}'
BUCKET = 'huey_task_wait_seconds_bucket{le="0.5",queue="q",task="t"}'
EXEMPLAR = f'# {{span_id="00f067aa0ba902b7",trace_id="{TRACE_ID}"}} 0.2 1795346713.6'


def merged(*pages, openmetrics=False, gauges=True):
    """The lines that are no comments, and how many series were skipped."""
    page = MergedPage(KnownSeries(), openmetrics=openmetrics)
    skipped = [page.add(name, text, gauges=gauges) for name, text in pages]
    lines = page.text([]).decode().splitlines()
    return [line for line in lines if not line.startswith("#")], skipped


def samples(families):
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def page_of(records):
    collector = Collector()
    collector.add_consumer(1, consumer("app.tasks.add"))
    feed(collector, *records)
    return own_page(collector, lambda _: True, gauges=True)


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_each_series_of_real_pages_is_there_with_its_consumer(openmetrics):
    collector = Collector()
    live_tasks(collector, registered=5, ran=3)
    pages = {
        'a "b" \\ \n:1': page_of(random_records(200)),
        "web-2:9": own_page(collector, lambda _: True, gauges=True),
    }
    page = MergedPage(KnownSeries(), openmetrics=openmetrics)

    skipped = [page.add(name, text, gauges=True) for name, text in pages.items()]
    read = read_openmetrics if openmetrics else read_text
    shown = samples(read(page.text([]).decode()))

    assert skipped == [0, 0]
    assert shown == {
        (name, labels | {("consumer", told)}): value
        for told, text in pages.items()
        for (name, labels), value in samples(read_openmetrics(text)).items()
    }


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_a_name_may_look_like_the_begin_of_an_exemplar(openmetrics):
    odd = 'a # {b="c"} 1 2'
    collector = Collector()
    collector.add_consumer(1, consumer("app.tasks.add", queue=odd))
    one = record("started", key=1, wait=0.3)
    feed(collector, sampled(one, "00f067aa0ba902b7"), source=SOURCE._replace(queue=odd))
    text = own_page(collector, lambda _: True, gauges=True)
    page = MergedPage(KnownSeries(), openmetrics=openmetrics)

    skipped = page.add("web-1:7", text, gauges=True)

    shown = page.text([]).decode().splitlines()
    assert skipped == 0
    assert len(shown) == len(text.splitlines()) - (not openmetrics)


def test_each_family_has_one_head_and_stands_together():
    page = MergedPage(KnownSeries(), openmetrics=False)
    for name in ("a:1", "b:2"):
        page.add(name, page_of(random_records(50)), gauges=True)

    lines = page.text([]).decode().splitlines()

    heads = [line for line in lines if line.startswith("#")]
    assert len(heads) == len(set(heads))
    order = [line.split()[2] for line in heads if line.startswith("# TYPE")]
    assert order == [name for name in CATALOG if name in order]


def test_own_families_come_behind_those_of_the_pages():
    page = MergedPage(KnownSeries(), openmetrics=True)
    page.add("a:1", f"{RETRIES} 1.0\n", gauges=True)

    text = page.text([NumberFamily(EXPORTER["huey_exporter_up"], {(): 1})]).decode()

    assert [line for line in text.splitlines() if line[0] != "#"] == [
        'huey_task_retries_total{consumer="a:1",queue="q",task="t"} 1.0',
        "huey_exporter_up 1.0",
    ]
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "line",
    [
        'other_total{queue="q",task="t"} 1.0',
        'huey_task_retries_total{queue="q"} 1.0',
        'huey_task_retries_total{queue="q",task="t",secret="x"} 1.0',
        'huey_task_retries_total{task="t",queue="q"} 1.0',
        'huey_task_retries_total{queue="q",queue="q"} 1.0',
        'huey_task_retries_total{consumer="me",queue="q",task="t"} 1.0',
        'huey_task_retries_total{queue="q",task="t"}1.0',
        'huey_task_retries_total{queue="q",task="t",} 1.0',
        'huey_task_retries_total{queue="a" b",task="t"} 1.0',
        'huey_task_retries_total{queue="\\x",task="t"} 1.0',
        'huey_task_retries_total{queue="q",task="t"} NaN',
        'huey_task_retries_total{queue="q",task="t"} -1.0',
        'huey_task_retries_total{queue="q",task="t"} +Inf',
        'huey_task_retries_total{queue="q",task="t"} 1_0',
        'huey_task_retries_total{queue="q",task="t"} ' + "1" * 40,
        'huey_task_retries_total{queue="q",task="t"} 1.0 1795346713',
        'huey_task_retries_total{queue="' + "q" * 20_000 + '",task="t"} 1.0',
        "huey_task_retries_total 1.0",
        "huey_task_retries_total{} 1.0",
        'huey_queue_length{queue="q"} 0.0',
        'huey_storage_up{queue="q"} 1.0',
        "huey_exporter_up 1.0",
        'huey_task_wait_seconds{queue="q",task="t"} 1.0',
        'huey_task_wait_seconds_bucket{queue="q",task="t"} 1.0',
        "noise",
        " ",
        "\x00",
    ],
    ids=lambda line: line[:70],
)
def test_a_series_that_is_not_ours_is_skipped(line):
    lines, skipped = merged(("a:1", f"{line}\n{RETRIES} 2.0\n"))

    assert lines == ['huey_task_retries_total{consumer="a:1",queue="q",task="t"} 2.0']
    assert skipped == [1]


def test_a_long_series_is_shown_and_not_remembered():
    series = f'huey_task_retries_total{{queue="{"q" * 1_000}",task="t"}}'
    known = KnownSeries()

    assert known.find(series) is not None
    assert known.known == {}


def test_no_series_is_there_twice():
    twice = f"{RETRIES} 1.0\n{RETRIES} 2.0\n"

    lines, skipped = merged(("a:1", twice), ("a:1", f"{RETRIES} 3.0"), ("b:1", twice))

    assert lines == [
        f'huey_task_retries_total{{consumer="{name}",queue="q",task="t"}} 1.0'
        for name in ("a:1", "b:1")
    ]
    assert skipped == [1, 1, 1]


def test_without_gauges_only_what_lasts_is_shown():
    page = page_of(random_records(100))

    lines, _ = merged(("a:1", page), gauges=False)

    kinds = {
        CATALOG[name].type
        for name in CATALOG
        if any(line.startswith((f"{name}{{", f"{name}_")) for line in lines)
    }
    assert kinds == {"counter", "histogram"}


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_exemplars_are_shown_in_openmetrics(openmetrics):
    lines, skipped = merged(
        ("a:1", f"{BUCKET} 2.0 {EXEMPLAR}\n"), openmetrics=openmetrics
    )

    shown = f" {EXEMPLAR}" if openmetrics else ""
    labels = '{consumer="a:1",le="0.5",queue="q",task="t"}'
    assert lines == [f"huey_task_wait_seconds_bucket{labels} 2.0{shown}"]
    assert skipped == [0]


@pytest.mark.parametrize(
    "line",
    [
        f'{BUCKET} 2.0 # {{secret="x"}} 0.2 1795346713.6',
        f"{BUCKET} 2.0 {EXEMPLAR} and more",
        f"{BUCKET} 2.0 {EXEMPLAR} {EXEMPLAR}",
    ],
)
def test_an_exemplar_that_is_not_ours_is_left_out(line):
    lines, _ = merged(("a:1", line), openmetrics=True)

    labels = '{consumer="a:1",le="0.5",queue="q",task="t"}'
    assert lines == [f"huey_task_wait_seconds_bucket{labels} 2.0"]


def test_what_a_consumer_samples_is_an_exemplar_of_ours():
    collector = Collector()
    one = record("started", key=1, wait=0.3)
    feed(collector, sampled(one, "00f067aa0ba902b7"))
    page = MergedPage(KnownSeries(), openmetrics=True)

    page.add("a:1", own_page(collector, lambda _: True, gauges=True), gauges=True)

    exemplars = [
        sample.exemplar.labels
        for family in read_openmetrics(page.text([]).decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert exemplars == [{"trace_id": TRACE_ID, "span_id": "00f067aa0ba902b7"}]
