"""gRPC and forks: none happens while it calls, unless a call takes long."""

import os
import threading
import time

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from huey_otel._otel import grpc
from huey_otel._otel.grpc import BetweenForks
from runtime import otlp_receiver as otlp
from tests.support.forks import fork
from tests.support.programs import run_program


class Call(SpanExporter):
    """One that takes as long as the test wants."""

    def __init__(self):
        self.begun = threading.Event()
        self.answered = threading.Event()

    def export(self, spans):
        self.begun.set()
        self.answered.wait(30)
        return SpanExportResult.SUCCESS


@pytest.fixture
def call():
    call = Call()
    yield call
    call.answered.set()


def begin(exporter, call):
    thread = threading.Thread(target=exporter.export, args=([],))
    thread.start()
    assert call.begun.wait(5)
    return thread


def exit_unless(condition):
    if not condition:
        os._exit(9)


def test_a_fork_waits_for_a_call_and_the_child_for_nothing(call, monkeypatch):
    monkeypatch.setattr(grpc, "_PATIENCE", 20.0)
    exporter = BetweenForks(call)
    calling = begin(exporter, call)
    answered = []

    def answer():
        answered.append(time.monotonic())
        call.answered.set()

    threading.Timer(0.1, answer).start()
    code = fork(lambda: exit_unless(len(answered) and exporter.export([]))).join()
    calling.join()

    assert code == 0


def test_a_fork_does_not_wait_long(call, monkeypatch):
    monkeypatch.setattr(grpc, "_PATIENCE", 0.05)
    exporter = BetweenForks(call)
    calling = begin(exporter, call)

    def answered():
        call.answered.set()
        exporter.export([])

    code = fork(answered).join()
    again = fork(lambda: None).join()
    call.answered.set()
    calling.join()

    assert (code, again) == (0, 0)
    # It is nobody's again.
    assert exporter.export([]) is SpanExportResult.SUCCESS


FORKING = """
import os, threading, time
from huey import MemoryHuey
from huey_otel import instrument

huey = MemoryHuey("my-app")
instrumentation = instrument(huey)

@huey.task()
def add():
    huey.storage.flush_queue()

over = threading.Event()

def work():
    while not over.is_set():
        add()
        time.sleep(0.001)

add()
worker = threading.Thread(target=work)
worker.start()
codes = []
for _ in range(40):
    pid = os.fork()
    if not pid:
        add()
        os._exit(0 if instrumentation.flush(5) else 7)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
over.set()
worker.join()
print(set(codes), instrumentation.dropped)
os._exit(0)
"""


@pytest.mark.without_coverage
@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
def test_children_that_are_forked_while_their_parent_sends_deliver(protocol):
    with otlp.receiver(protocol) as receiver:
        environ = {
            "PYTHONUNBUFFERED": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "1",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
            **receiver.environ,
        }
        done = run_program(FORKING, **environ)

    assert done.stdout == "{0} {}\n", done.stderr[-3000:]
