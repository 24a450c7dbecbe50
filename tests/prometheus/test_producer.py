"""The counter of a process that only enqueues."""

from typing import Any

from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.producer import ProducerCounter
from tests.support.metrics import (
    OF_TASK,
    SOURCE,
    TASK,
    page,
    record,
)
from tests.support.programs import run_program


def producers(counter: ProducerCounter) -> None:
    for origin in ("call", "call", "pipeline"):
        counter.inc("shop", TASK, origin)


def test_producer_shows_only_the_count_of_its_enqueues():
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    before = page(registry)
    producers(counter)

    assert before == {}
    assert page(registry) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 2,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }


def test_consumer_goes_on_from_the_count_of_the_producer():
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    producers(counter)

    collector = Collector(enqueued=counter.retired())
    registry.register(collector)
    collector(record("accepted", origin="call"), SOURCE)

    producers(counter)

    assert counter.retired() == {}
    assert page(registry, n.TASKS_ENQUEUED_TOTAL) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 3,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }


def test_counts_of_producers_add_up_in_multi_process_mode(tmp_path):
    program = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from huey_otel._options.table import OPTIONS
from huey_otel._prometheus.producer import ProducerCounter
counter = ProducerCounter(CollectorRegistry())
counter.inc("shop", "app.add", "call")
pid = os.fork()
counter.inc("shop", "app.add", "call")
if pid:
    os.waitpid(pid, 0)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""
    done = run_program(program, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    values = [line for line in done.stdout.split("\n") if line and line[0] != "#"]
    assert values == [
        'huey_tasks_enqueued_total{origin="call",queue="shop",task="app.add"} 3.0'
    ]


def test_enqueue_by_a_signal_handler_in_the_middle_of_a_count_is_counted(monkeypatch):
    registry = CollectorRegistry()
    counter = ProducerCounter(registry)
    counter.inc("shop", TASK, "call")
    child: Any = counter._children["shop", TASK, "call"]
    inc = child.inc

    def interrupted() -> None:
        counter.inc("shop", TASK, "pipeline")
        inc()

    monkeypatch.setattr(child, "inc", interrupted)
    counter.inc("shop", TASK, "call")

    assert page(registry, n.TASKS_ENQUEUED_TOTAL) == {
        f'huey_tasks_enqueued_total{{origin="call",{OF_TASK}}}': 2,
        f'huey_tasks_enqueued_total{{origin="pipeline",{OF_TASK}}}': 1,
    }
