"""Forks beside exporters that call over gRPC and HTTP."""

import os
import threading
import time

import pytest
import requests
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from huey_otel._otel import transports
from huey_otel._otel.transports import BetweenForks, SessionRenewal
from runtime import otlp_receiver as otlp
from tests.support.forks import fork
from tests.support.programs import run_program
from tests.support.waiting import wait_until


class Call(SpanExporter):
    """An exporter whose call ends when the test says so."""

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


def test_a_fork_waits_for_a_grpc_call_and_its_child_does_not(call, monkeypatch):
    monkeypatch.setattr(transports, "_PATIENCE", 20.0)
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


def test_a_fork_does_not_wait_long_for_a_grpc_call(call, monkeypatch):
    monkeypatch.setattr(transports, "_PATIENCE", 0.05)
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
    # The lock is free again.
    assert exporter.export([]) is SpanExportResult.SUCCESS


def test_a_child_does_not_wait_for_a_lock_of_its_parents_http_session():
    session = SessionRenewal(requests.Session()).session
    pools = session.get_adapter("http://").poolmanager.pools
    taken, let_go = threading.Event(), threading.Event()

    def export():
        # What an exporting thread holds while another thread forks.
        with pools.lock, session.cookies._cookies_lock:
            taken.set()
            let_go.wait(30)

    exporting = threading.Thread(target=export)
    exporting.start()
    assert taken.wait(5)

    def send():
        session.cookies.copy()
        session.get_adapter("http://").poolmanager.connection_from_url("http://a")

    child = fork(send)
    try:
        wait_until(lambda: not child.is_alive(), seconds=5)
    finally:
        child.kill()
        let_go.set()
        exporting.join()

    assert child.status == 0


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
def test_children_forked_while_their_parent_exports_deliver(protocol):
    with otlp.receiver(protocol) as receiver:
        environ = {
            "PYTHONUNBUFFERED": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "1",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
            **receiver.environ,
        }
        done = run_program(FORKING, **environ)

    assert done.stdout == "{0} {}\n", done.stderr[-3000:]
