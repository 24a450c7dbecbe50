"""The first enqueue of a process: what it finds done, and what it leaves to others."""

import functools
import textwrap
import time
from typing import Any

import pytest
from huey import MemoryHuey
from opentelemetry import propagate
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from huey_otel import instrument
from huey_otel._wire.carrier import decode
from runtime import otlp_receiver as otlp
from tests.support.programs import ROOT, run_program
from tests.support.recorded import LATER, Drain, Recorded
from tests.support.waiting import wait_until

PROTOCOLS = pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])

PROGRAM = """
    import sys, threading
    from huey import MemoryHuey
    from huey_otel import instrument
    from opentelemetry import trace
    huey = MemoryHuey("my-app")

    @huey.task()
    def add():
        pass

    def sockets():
        import os
        return [fd for fd in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{fd}")
                and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")]

    def state():
        return (
            [thread.name for thread in threading.enumerate()][1:],
            sockets(),
            type(trace.get_tracer_provider()).__name__,
        )

    instrumentation = instrument(huey)
"""

run = functools.partial(run_program, PROGRAM)


@PROTOCOLS
def test_instrument_imports_and_does_nothing_else(protocol):
    with otlp.receiver(protocol) as receiver:
        done = run("print(state())", **receiver.environ)

    assert done.stdout == "([], [], 'ProxyTracerProvider')\n", done.stderr


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}],
    ids=["", "detectors"],
)
@PROTOCOLS
def test_the_first_enqueue_imports_nothing_and_opens_no_socket(protocol, environ):
    with otlp.receiver(protocol) as receiver:
        done = run(
            """
            before = set(sys.modules)
            add()
            print(sorted(set(sys.modules) - before), sockets())
            """,
            **receiver.environ,
            **environ,
        )

        assert [span.name for span in receiver.spans] == ["enqueue __main__.add"]
    assert done.stdout == "[] []\n", done.stderr


@PROTOCOLS
def test_an_export_imports_nothing_while_another_thread_may_fork(protocol):
    with otlp.receiver(protocol) as receiver:
        done = run(
            """
            before = set(sys.modules)
            add()
            instrumentation.flush()
            print(sorted(set(sys.modules) - before))
            """,
            **receiver.environ,
        )

    assert done.stdout == "[]\n", done.stderr


def test_no_request_waits_for_a_detector(tmp_path):
    package = tmp_path / "vendor-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: vendor\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_resource_detector]\nvendor = vendor:Detector\n"
    )
    (tmp_path / "vendor.py").write_text(
        textwrap.dedent("""
            import threading
            from opentelemetry.sdk.resources import Resource, ResourceDetector

            go_on = threading.Event()

            class Detector(ResourceDetector):
                def detect(self):
                    go_on.wait(20)
                    return Resource({"cloud.region": "north"})
        """)
    )
    with otlp.receiver() as receiver:
        done = run(
            """
            import vendor
            add()
            vendor.go_on.set()
            """,
            PYTHONPATH=f"{ROOT}:{tmp_path}",
            OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="vendor",
            **receiver.environ,
        )

        (span,) = receiver.spans
    assert span.resource["cloud.region"] == "north", done.stderr


class Clock:
    """Stands still, unless something is slow."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self) -> None:
        self.now += 10.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


class SlowPropagator(TextMapPropagator):
    """Takes a while at its first use, as one does that imports or asks."""

    def __init__(self, clock: Clock) -> None:
        self._slow = {"extract", "inject"}
        self._clock = clock

    def _use(self, what: str) -> None:
        if what in self._slow:
            self._slow.remove(what)
            self._clock.passes()

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        self._use("extract")
        return context

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        self._use("inject")
        carrier["slow"] = "yes"

    @property
    def fields(self) -> set[str]:
        return {"slow"}


class SlowSampler(Sampler):
    """One that takes a while, always."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        self._clock.passes()
        return ALWAYS_ON.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return "slow"


class SlowProvider(TracerProvider):
    """One that takes a while to make a tracer."""

    clock: Clock

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        self.clock.passes()
        return super().get_tracer(*args, **kwargs)


@pytest.fixture
def slow(clock, monkeypatch) -> TracerProvider:
    """A provider that is slow, beside a propagator that is so at first."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", SlowPropagator(clock))
    provider = SlowProvider(sampler=SlowSampler(clock), shutdown_on_exit=False)
    provider.clock = clock
    return provider


def test_an_enqueue_is_timed_after_slow_propagators_and_samplers(clock, slow):
    huey = MemoryHuey("my-app")
    instrument(huey, tracer_provider=slow)

    @huey.task()
    def add():
        pass

    add()
    carrier = decode(huey.storage.dequeue())

    # Tracer, extract, sampler, inject.
    assert clock.now == 1_040.0
    assert carrier is not None
    assert (carrier.enqueued, carrier.headers) == (clock.now, {"slow": "yes"})


def test_an_add_schedule_by_hand_is_timed_after_slow_propagators(clock, slow):
    huey = MemoryHuey("my-app")
    instrument(huey, tracer_provider=slow)

    @huey.task()
    def add():
        pass

    huey.add_schedule(add.s(eta=LATER))
    (message,) = huey.storage.scheduled_items()
    carrier = decode(message)

    assert carrier is not None
    assert (carrier.enqueued, carrier.headers) == (clock.now, {"slow": "yes"})


def test_a_retry_is_timed_after_slow_propagators_and_samplers(clock, slow):
    huey = MemoryHuey("my-app")
    instrument(huey, tracer_provider=slow)

    @huey.task(retries=1)
    def add():
        raise ValueError

    add()
    huey.execute(huey.dequeue())
    carrier = decode(huey.storage.dequeue())

    assert carrier is not None
    assert (carrier.enqueued, carrier.attempt) == (clock.now, 2)


def test_a_first_attempt_is_timed_after_what_is_slow_at_its_first_use(clock, slow):
    huey = MemoryHuey("my-app")
    began: list[float] = []

    @huey.task()
    def add():
        began.append(clock.now)

    # By a producer that has telemetry of its own, or none.
    add()
    seen = Recorded(huey, tracer_provider=slow)
    Drain(huey)()
    (started,) = [one for one in seen.events if one["status"] == "started"]

    # All but the sampler, which each attempt waits for.
    assert (began, started["timestamp"]) == ([1_030.0], 1_020.0)


def test_a_script_that_enqueues_once_and_ends_delivers_with_its_resource():
    with otlp.receiver() as receiver:
        done = run(
            "add()",
            OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="process",
            OTEL_RESOURCE_ATTRIBUTES="team=x",
            **receiver.environ,
        )

        wait_until(lambda: len(receiver.spans) == 1)
        (span,) = receiver.spans
    assert (span.resource["team"], span.resource["process.runtime.name"]) == (
        "x",
        "cpython",
    ), done.stderr
    assert done.stderr == ""
