"""A consumer's own page: its series without the storage's, also after its end."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from huey_otel._prometheus.catalog import CATALOG, OF_STORAGE
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.exposition import expose
from huey_otel._prometheus.own_page import own_page
from tests.support.metrics import consumer, feed, record, run

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def everything(_queue):
    return True


def lines(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def shown(text):
    """The names of the metrics that have series in OpenMetrics *text*."""
    return {
        sample.name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def collecting():
    collector = Collector()
    collector.add_consumer(1, consumer("app.tasks.add", "app.tasks.never"))
    run(collector)
    feed(collector, record("started", key=2, name="app.tasks.slow"))
    return collector


def test_it_has_every_series_of_the_collector_as_the_endpoint_shows_it():
    collector = collecting()

    text = own_page(collector, everything, gauges=True)
    _, page = expose(list(collector.collect()), OPENMETRICS)

    changing = ("huey_task_running_age", "huey_worker_busy_seconds")
    own, theirs = (
        {line for line in lines(one) if not line.startswith(changing)}
        for one in (text, page.decode())
    )
    assert own == theirs
    assert text.endswith("# EOF\n")


def test_the_last_one_has_only_what_lasts():
    kinds = {
        CATALOG[name.removesuffix(end)].type
        for name in shown(own_page(collecting(), everything, gauges=False))
        for end in ("", "_bucket", "_count", "_sum")
        if name.removesuffix(end) in CATALOG
    }

    assert kinds == {"counter", "histogram"}


def test_it_has_the_series_of_queues_that_belong_there():
    collector = collecting()
    other = consumer("app.tasks.other", queue="other")
    collector.add_consumer(2, other)

    text = own_page(collector, "other".__eq__, gauges=True)

    assert 'queue="other"' in text
    assert 'queue="shop"' not in text
    assert 'queue=""' not in text


def test_it_has_nothing_of_the_storage():
    assert shown(own_page(collecting(), everything, gauges=True)).isdisjoint(OF_STORAGE)


def test_counters_are_the_same_after_the_consumers_end():
    collector = Collector()
    collector.add_consumer(1, consumer("app.tasks.add", "app.tasks.never"))
    run(collector)
    before = own_page(collector, everything, gauges=False)

    collector.remove(1)

    after = own_page(collector, everything, gauges=False)
    assert sorted(lines(after)) == sorted(lines(before))
    assert 'task="app.tasks.never"} 0.0' in after
