"""The provider that we build: its sampler, IDs, credentials, and what it delivers."""

import functools
import textwrap
import threading

import pytest
from opentelemetry.sdk.resources import Resource, ResourceDetector

from huey_otel._options.export import read_export
from huey_otel._otel import resource as _resource
from huey_otel._otel.sdk_provider import BuiltProvider
from huey_otel._safety.forks import COLLECTING
from runtime import otlp_receiver as otlp
from tests.support.programs import ROOT, run_program

MAIN = "__main__.add"
IDS = "OTEL_PYTHON_ID_GENERATOR"
CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"
TRACES_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"

PROGRAM = """
    from huey import MemoryHuey
    from huey_otel import instrument
    huey = MemoryHuey("my-app")
    instrumentation = instrument(huey)

    @huey.task()
    def add():
        pass
"""

run = functools.partial(run_program, PROGRAM)


@pytest.fixture
def vendor(tmp_path) -> str:
    """The path of a package that offers an ID generator and a session."""
    package = tmp_path / "vendor-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: vendor\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_id_generator]\nvendor = vendor:Ids\n"
        "[opentelemetry_otlp_credential_provider]\nvendor = vendor:Session\n"
    )
    (tmp_path / "vendor.py").write_text(
        textwrap.dedent("""
            import requests
            from opentelemetry.sdk.trace import RandomIdGenerator

            class Ids(RandomIdGenerator):
                def generate_trace_id(self):
                    return 0xABC

            class Session(requests.Session):
                def send(self, *args, **kwargs):
                    print("with credentials")
                    return super().send(*args, **kwargs)
        """)
    )
    return f"{ROOT}:{tmp_path}"


@pytest.mark.parametrize("variable", [CREDENTIALS, TRACES_CREDENTIALS])
def test_a_vendors_id_generator_and_credentials_are_used(vendor, variable):
    with otlp.receiver() as receiver:
        environ = {"PYTHONPATH": vendor, IDS: "vendor", variable: "vendor"}
        done = run("add()", **receiver.environ, **environ)

        assert [span.trace_id for span in receiver.spans] == [f"{0xABC:032x}"]
    assert done.stdout == "with credentials\n"


def test_nothing_is_sent_without_the_credentials_that_are_asked_for():
    with otlp.receiver() as receiver:
        done = run("add()", **receiver.environ, **{CREDENTIALS: "unknown"})

        assert receiver.spans == []
    assert "opentelemetry_otlp_credential_provider has no 'unknown'" in done.stderr


@pytest.mark.parametrize(
    ("sampler", "chosen"),
    [("parentbased_traceidratio", "LinksBased"), ("traceidratio", "TraceIdRatioBased")],
)
def test_only_a_parent_based_sampler_is_led_by_links_as_well(sampler, chosen):
    done = run(
        """
        print(type(instrumentation._outputs.tracer.resolved().tracer.sampler).__name__)
        """,
        OTEL_TRACES_EXPORTER="console",
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="0.5",
    )

    assert done.stdout == f"{chosen}\n"


def test_no_fork_waits_for_a_resource_detector(monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(ResourceDetector):
        def detect(self) -> Resource:
            begun.set()
            go_on.wait(30)
            return Resource({})

    monkeypatch.setattr(_resource, "_detectors", lambda _names: [Slow()])
    export = read_export({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318"})
    built = BuiltProvider(export, "my-app", at_once=False)
    starting = threading.Thread(target=built.start)
    starting.start()
    assert begun.wait(5)

    free = COLLECTING.take(5)
    if free:
        COLLECTING.release()
    go_on.set()
    starting.join()
    built.provider.shutdown()

    assert free


def test_a_forked_producer_delivers_at_its_end_like_its_parent():
    with otlp.receiver() as receiver:
        done = run(
            """
            import os, threading
            add()
            if os.fork():
                os.wait()
            else:
                add()
            print([t.name for t in threading.enumerate()].count("huey-otel-flush"))
            """,
            **receiver.environ,
        )

        # os.fork without exec: the child ends like a preforked web worker.
        assert [span.name for span in receiver.spans] == [f"enqueue {MAIN}"] * 2
    assert done.stdout == "1\n1\n"


@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("", {f"enqueue {MAIN}", "mine"}),
        ("instrumentation.uninstrument()", {f"enqueue {MAIN}", "mine"}),
        ("import os; instrumentation.flush(); os._exit(0)", {f"enqueue {MAIN}"}),
    ],
    ids=["exit", "uninstrument", "flush"],
)
def test_a_producer_delivers_at_its_end(protocol, end, expected):
    with otlp.receiver(protocol) as receiver:
        run(
            f"""
            add()
            {end}
            from opentelemetry import trace
            trace.get_tracer("mine").start_span("mine").end()
            """,
            **receiver.environ,
        )

        assert {span.name for span in receiver.spans} == expected
        assert {span.resource["service.name"] for span in receiver.spans} == {"my-app"}


@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_a_producer_without_collector_ends_in_a_second_and_logs_it(protocol, away):
    with away(protocol) as receiver:
        done = run(
            """
            import time
            from multiprocessing import util
            add()
            began = time.monotonic()
            def tell():
                print(time.monotonic() - began, dict(instrumentation.dropped))
            util.Finalize(None, tell, exitpriority=-200)
            """,
            **receiver.environ,
        )

    seconds, _, lost = done.stdout.partition(" ")
    assert float(seconds) < 1.5
    # The enqueue's.
    assert lost == "{'spans': 1}\n"
    assert done.stderr.count("(counted as spans)") == 1
    assert done.stderr.count("opentelemetry.exporter") == 0
