"""Where spans go: the argument, the application's provider, or the environment."""

import functools
import itertools
import logging
import os
import re
import textwrap
import threading
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext

from huey_otel import instrument
from huey_otel._options.otel import read_export
from huey_otel._otel import exporter as _exporters
from huey_otel._otel.exporter import CountingExporter, CountingProcessor, LateExporter
from huey_otel._otel.flusher import Flusher
from huey_otel._otel.resource import ProcessResource
from huey_otel._otel.span_counts import SPANS, SpanCounts
from huey_otel._safety import forks
from huey_otel._safety.forks import COLLECTING
from huey_otel._safety.losses import Losses
from runtime.demo import otlp
from tests.support.forks import fork
from tests.support.programs import ROOT, run_program
from tests.support.spans import Spans
from tests.support.waiting import wait_until

HTTP = ("otlp_proto_http",)
GRPC = ("otlp_proto_grpc",)
PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_PLACE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
MAIN = "__main__.add"
UNSET = "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
NONE_YET = "none until the application sets a tracer provider; {}"


@pytest.mark.parametrize(
    ("env", "exporters", "where"),
    [
        ({PLACE: "http://tempo:4318"}, HTTP, "over OTLP/HTTP to tempo:4318"),
        ({PLACE: "http://tempo:4317"}, GRPC, "over OTLP/gRPC to tempo:4317"),
        ({PLACE: "tempo:4317"}, GRPC, "over OTLP/gRPC to tempo:4317"),
        ({PLACE: "https://tempo"}, HTTP, "over OTLP/HTTP to tempo"),
        (
            {PLACE: "http://me:secret@tempo:4318/a"},
            HTTP,
            "over OTLP/HTTP to tempo:4318",
        ),
        ({TRACES_PLACE: "http://tempo/x"}, HTTP, "over OTLP/HTTP to tempo"),
        (
            {PLACE: "http://a:4317", TRACES_PLACE: "http://b:4318"},
            HTTP,
            "over OTLP/HTTP to b:4318",
        ),
        (
            {PLACE: "http://a:4318", PROTOCOL: "grpc"},
            GRPC,
            "over OTLP/gRPC to a:4318",
        ),
        (
            {PLACE: "http://a:4317", PROTOCOL: "http/protobuf"},
            HTTP,
            "over OTLP/HTTP to a:4317",
        ),
        (
            {PLACE: "http://a", PROTOCOL: "grpc", TRACES_PROTOCOL: "http/protobuf"},
            HTTP,
            "over OTLP/HTTP to a",
        ),
        ({EXPORTER: "otlp"}, HTTP, "over OTLP/HTTP to localhost:4318"),
        ({EXPORTER: " otlp , console "}, (*HTTP, "console"), None),
        ({EXPORTER: "console"}, ("console",), "over the console"),
        ({EXPORTER: "otlp_proto_grpc"}, GRPC, "over OTLP/gRPC to localhost:4317"),
        (
            {EXPORTER: "otlp,otlp_proto_http"},
            HTTP,
            "over OTLP/HTTP to localhost:4318",
        ),
        ({EXPORTER: "", PLACE: "http://a"}, HTTP, "over OTLP/HTTP to a"),
        ({EXPORTER: "console", PROTOCOL: "carrier-pigeon"}, ("console",), None),
    ],
    ids=str,
)
def test_environment_names_exporters(env, exporters, where):
    export = read_export(env)

    assert export.exporters == exporters
    assert where in (None, export.where)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, UNSET),
        ({PLACE: ""}, UNSET),
        ({EXPORTER: "none"}, "OTEL_TRACES_EXPORTER=none"),
        ({EXPORTER: "none", PLACE: "http://a"}, "OTEL_TRACES_EXPORTER=none"),
    ],
    ids=str,
)
def test_environment_names_no_exporter(env, why):
    export = read_export(env)

    assert (export.exporters, export.why_none) == ((), why)


@pytest.mark.parametrize("value", ["true", "True", " TRUE "])
def test_a_disabled_sdk_needs_no_exporter(value):
    export = read_export({"OTEL_SDK_DISABLED": value, EXPORTER: "no such thing"})

    assert (export.disabled, export.exporters) == (True, ())


@pytest.mark.parametrize("value", ["", "false", "1", "yes"])
def test_only_true_disables_the_sdk(value):
    assert not read_export({"OTEL_SDK_DISABLED": value}).disabled


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {EXPORTER: "zipkin"},
            r"OTEL_TRACES_EXPORTER='zipkin': expected some of .*console.*none.*otlp",
        ),
        (
            {EXPORTER: "otlp", PROTOCOL: "http/json"},
            r"OTEL_EXPORTER_OTLP_PROTOCOL='http/json': expected one of"
            r" grpc, http/protobuf",
        ),
        (
            {PLACE: "http://a", TRACES_PROTOCOL: "udp", PROTOCOL: "grpc"},
            r"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL='udp'",
        ),
        (
            {PLACE: "localhost:4318"},
            r"OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318': expected a URL, such as"
            r" http://localhost:4318$",
        ),
        (
            {PLACE: "http://a", TRACES_PLACE: "http://me:secret@tempo:x"},
            r"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='http://tempo:\*\*\*': expected a URL",
        ),
        ({PLACE: "http://[tempo"}, r"OTEL_EXPORTER_OTLP_ENDPOINT='http://\[tempo': "),
        (
            {PLACE: "tempo:99999", PROTOCOL: "grpc"},
            r".*, such as http://localhost:4317",
        ),
    ],
    ids=[
        "exporter",
        "protocol",
        "protocol of traces",
        "no scheme",
        "no port",
        "no host",
        "no such port",
    ],
)
def test_what_is_not_to_be_had_is_ignored_and_named(env, message):
    (ignored,) = read_export(env).ignored

    assert re.match(message, ignored)


def test_a_variable_that_nobody_needs_is_not_complained_of():
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        trace.set_tracer_provider(TracerProvider())
        add()
        print(instrumentation._outputs.tracer.provided().where)
        """,
        **{EXPORTER: "zipkin"},
    )

    assert done.stdout == "to the application's tracer provider\n"
    assert done.stderr == ""


def test_a_variable_that_would_be_needed_is_complained_of():
    done = run(
        """
        add()
        print(instrumentation._outputs.tracer.provided().where)
        """,
        **{EXPORTER: "zipkin"},
    )

    assert done.stdout.startswith(
        NONE_YET.format("OTEL_TRACES_EXPORTER='zipkin': expected")
    )
    assert done.stderr.startswith(
        "huey.otel: OTEL_TRACES_EXPORTER='zipkin': expected some of console, none,"
    )


IDS = "OTEL_PYTHON_ID_GENERATOR"
CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"
TRACES_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"


def test_an_id_generator_that_is_not_to_be_had_is_ignored_and_named():
    env = {PLACE: "http://a", IDS: "xray"}

    assert read_export(env).ignored == (f"{IDS}='xray': expected one of random",)
    assert read_export({**env, IDS: "random"}).id_generator == "random"
    assert read_export({IDS: "xray"}).ignored == ()


@pytest.fixture
def vendor(tmp_path) -> str:
    """Where a package is that has an ID generator and a session of its own."""
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
def test_ids_and_credentials_are_those_of_a_vendor(vendor, variable):
    with otlp.receiver() as receiver:
        environ = {"PYTHONPATH": vendor, IDS: "vendor", variable: "vendor"}
        done = run("add()", **receiver.environ, **environ)

        assert [span.trace_id for span in receiver.spans] == [f"{0xABC:032x}"]
    assert done.stdout == "with credentials\n"


def test_without_the_credentials_that_were_asked_for_nothing_is_sent():
    with otlp.receiver() as receiver:
        done = run("add()", **receiver.environ, **{CREDENTIALS: "nobody"})

        assert receiver.spans == []
    assert "opentelemetry_otlp_credential_provider has no 'nobody'" in done.stderr


@pytest.mark.parametrize(
    ("env", "attributes"),
    [
        ({}, {"service.name": "my-app"}),
        ({"OTEL_SERVICE_NAME": "web"}, {}),
        ({"OTEL_SERVICE_NAME": ""}, {"service.name": "my-app"}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name = web"}, {}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "my.service.name=web"},
            {"service.name": "my-app"},
        ),
    ],
    ids=str,
)
def test_the_service_may_be_named(env, attributes):
    assert read_export(env).resource("my-app") == attributes


@pytest.mark.parametrize(
    ("sampler", "chosen"),
    [("parentbased_traceidratio", "LinksBased"), ("traceidratio", "TraceIdRatioBased")],
)
def test_links_count_where_parents_do(sampler, chosen):
    done = run(
        """
        print(type(instrumentation._outputs.tracer.provided().tracer.sampler).__name__)
        """,
        OTEL_TRACES_EXPORTER="console",
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="0.5",
    )

    assert done.stdout == f"{chosen}\n"


def test_argument_comes_before_all_else(monkeypatch):
    monkeypatch.setenv(PLACE, "http://a")
    spans = Spans()
    huey = MemoryHuey("my-app")
    instrumentation = instrument(huey, tracer_provider=spans.provider)

    @huey.task()
    def add():
        pass

    add()

    assert spans.names == ["enqueue add"]
    assert (
        instrumentation._outputs.tracer.provided().where
        == "to the tracer_provider= given"
    )


def test_something_else_is_no_provider():
    with pytest.raises(TypeError, match="tracer_provider=7: expected an"):
        instrument(MemoryHuey("my-app"), tracer_provider=7)


PROGRAM = """
    import logging, sys
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    from huey import MemoryHuey
    bare = set(sys.modules)
    from huey_otel import instrument
    huey = MemoryHuey("my-app")
    instrumentation = instrument(huey)

    @huey.task()
    def add():
        pass
"""

run = functools.partial(run_program, PROGRAM)


def test_a_producer_without_provider_imports_no_sdk_and_starts_no_thread():
    done = run(
        """
        import threading
        add()
        huey.execute(huey.dequeue())
        instrumentation.flush()
        print(instrumentation._outputs.tracer.provided().where)
        # redis-py 8 imports a part of it by itself.
        print([name for name in set(sys.modules) - bare
               if "opentelemetry.sdk" in name or "opentelemetry.exporter" in name])
        print([t.name for t in threading.enumerate() if "flush" in t.name])
        """
    )

    where = NONE_YET.format("OTEL_EXPORTER_OTLP_ENDPOINT is not set")
    assert done.stdout.splitlines() == [where, "[]", "[]"]


def test_propagators_that_are_set_to_nothing_are_those_by_default():
    done = run(
        """
        from opentelemetry import propagate
        add()
        print(sorted(propagate.get_global_textmap().fields))
        """,
        OTEL_PROPAGATORS=" ",
    )

    assert done.stdout == "['baggage', 'traceparent', 'tracestate']\n"
    assert (done.returncode, "OTEL_PROPAGATORS" in done.stderr) == (0, False)


@pytest.mark.parametrize("named", ["", "nope"])
def test_a_global_provider_that_is_not_to_be_had_costs_nothing(named):
    done = run(
        """
        add()
        huey.execute(huey.dequeue())
        print(instrumentation.flush(), dict(instrumentation.dropped))
        """,
        OTEL_PYTHON_TRACER_PROVIDER=named,
    )

    assert (done.returncode, done.stdout) == (0, "True {}\n")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("OTEL_PYTHON_TRACER_PROVIDER='nope'") == bool(named)


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        (
            {PLACE: "http://a", "OTEL_SDK_DISABLED": "true"},
            "off, OTEL_SDK_DISABLED is set",
        ),
        ({EXPORTER: "none"}, NONE_YET.format("OTEL_TRACES_EXPORTER=none")),
        (
            {PLACE: "https://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"},
            "off, OTEL_EXPORTER_OTLP_CERTIFICATE='/none': expected a file that can"
            " be read",
        ),
    ],
    ids=["disabled", "none", "no certificate"],
)
def test_spans_are_off(environ, where):
    done = run(
        """
        add()
        add()
        print(instrumentation._outputs.tracer.provided().where)
        print(add().id is not None)
        """,
        **environ,
    )

    assert done.stdout.splitlines() == [where, "True"]
    assert done.stderr.count("spans are off") == ("CERTIFICATE" in where)
    assert "Traceback" not in done.stderr


def test_the_applications_own_provider_is_used():
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        mine = TracerProvider()
        trace.set_tracer_provider(mine)
        add()
        provided = instrumentation._outputs.tracer.provided()
        print(provided.where, provided.provider is mine)
        """,
        **{PLACE: "http://a"},
    )

    assert done.stdout == "to the application's tracer provider True\n"


def test_the_applications_own_provider_may_be_disabled():
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        trace.set_tracer_provider(TracerProvider())
        add()
        print(instrumentation._outputs.tracer.provided().where)
        """,
        OTEL_SDK_DISABLED="true",
    )

    assert done.stdout == "off, OTEL_SDK_DISABLED is set\n"


def test_a_provider_that_is_set_later_gets_the_spans_after_that():
    done = run(
        """
        add()
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter
        mine = TracerProvider(shutdown_on_exit=False)
        def short(span): return f"{span.name}\\n"
        mine.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=short)))
        trace.set_tracer_provider(mine)
        add()
        """
    )

    assert done.stdout == "enqueue __main__.add\n", done.stderr


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({}, "my-app"),
        ({"OTEL_SERVICE_NAME": "web"}, "web"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,team=x"}, "shop"),
    ],
    ids=["queue", "name", "attributes"],
)
def test_a_built_provider_is_global_and_logged_and_named(environ, service):
    done = run(
        """
        from opentelemetry import trace
        add()
        provider = trace.get_tracer_provider()
        sys.stderr.flush()
        print(provider is instrumentation._outputs.tracer.provided().provider)
        print(provider.resource.attributes["service.name"])
        """,
        **environ,
        **{EXPORTER: "console"},
    )

    lines = done.stdout.splitlines()
    assert lines[-2:] == ["True", service]
    assert '"name": "enqueue __main__.add",' in done.stdout
    assert done.stderr == (
        "huey.otel: spans go over the console,"
        " by a tracer provider that is now global\n"
    )


def test_a_child_does_not_wait_for_a_lock_of_its_parents_session():
    session = _exporters._session("")
    pools = session.get_adapter("http://").poolmanager.pools
    taken, let_go = threading.Event(), threading.Event()

    def export():
        # What a thread is in the middle of that sends while another one forks.
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


def test_a_forked_producer_is_as_ready_to_end_as_its_parent():
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

        # os.fork without exec: the child ends as web workers do that were preforked.
        assert [span.name for span in receiver.spans] == [f"enqueue {MAIN}"] * 2
    assert done.stdout == "1\n1\n"


def test_threads_that_begin_together_build_one_provider():
    done = run(
        """
        import threading
        ready = threading.Barrier(8)
        def first():
            ready.wait()
            add()
        threads = [threading.Thread(target=first) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sum("OtelBatch" in t.name for t in threading.enumerate()))
        """,
        **{PLACE: "http://127.0.0.1:9", "HUEY_OTEL_FLUSH_TIMEOUT": "0"},
    )

    assert done.stdout == "1\n"
    assert "Overriding" not in done.stderr


def test_two_hueys_share_the_provider_that_was_built():
    done = run(
        """
        other = MemoryHuey("other")
        second = instrument(other)
        @other.task()
        def more():
            pass
        add()
        more()
        first, second = instrumentation._outputs, second._outputs
        print(first.tracer.provided() is second.tracer.provided())
        """,
        **{PLACE: "http://127.0.0.1:9", "HUEY_OTEL_FLUSH_TIMEOUT": "0"},
    )

    assert done.stdout == "True\n"


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
def test_a_producer_delivers(protocol, end, expected):
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
def test_a_producer_waits_a_second_at_most_and_says_what_is_lost(protocol, away):
    with away(protocol) as receiver:
        done = run(
            """
            import time
            from multiprocessing import util
            add()
            began = time.monotonic()
            def tell(): print(time.monotonic() - began)
            util.Finalize(None, tell, exitpriority=-200)
            """,
            **receiver.environ,
        )

    assert float(done.stdout) < 1.5
    assert done.stderr.count("(counted as spans)") == 1
    assert done.stderr.count("opentelemetry.exporter") == 0


SPAN = ReadableSpan("one", SpanContext(1, 2, is_remote=False))


class Failing(SpanExporter):
    """Fails until told otherwise, and talks about it like OTLP's exporters."""

    fails = True

    def export(self, spans):
        if self.fails == "raises":
            raise OSError("no route")
        if self.fails:
            for attempt in range(3):
                LOGGER.warning("Transient error %d", attempt)
            LOGGER.error("Failed to export: %s", "refused")
            return SpanExportResult.FAILURE
        LOGGER.info("delivered")
        return SpanExportResult.SUCCESS


LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")


@pytest.fixture
def held_back() -> Iterator[None]:
    LOGGER.addFilter(_exporters._HELD_BACK)
    yield
    LOGGER.removeFilter(_exporters._HELD_BACK)


@pytest.mark.usefixtures("held_back")
def test_failing_exports_are_logged_once_a_streak_and_counted(caplog, losses: Losses):
    caplog.set_level(logging.INFO)
    exporter = Failing()
    counting = CountingExporter(exporter)

    counting.export([SPAN] * 3)
    counting.export([SPAN] * 2)
    exporter.fails = False
    counting.export([SPAN])
    exporter.fails = True
    counting.export([SPAN])

    assert losses.counts() == {"spans": 6}
    told = "spans could not be delivered: Failed to export: refused (counted as spans)"
    assert caplog.messages == [
        told,
        "delivered",
        "spans are delivered again",
        told,
    ]


@pytest.mark.usefixtures("held_back")
def test_what_others_log_is_left_alone(caplog, losses: Losses):
    class Slow(Failing):
        def export(self, spans):
            other = threading.Thread(target=LOGGER.error, args=("from elsewhere",))
            other.start()
            other.join()
            return super().export(spans)

    CountingExporter(Slow()).export([SPAN])
    LOGGER.error("the application's own exporter")

    assert [m for m in caplog.messages if "counted" not in m] == [
        "from elsewhere",
        "the application's own exporter",
    ]


def test_an_exporter_that_raises_is_counted(losses: Losses):
    exporter = Failing()
    exporter.fails = "raises"

    result = CountingExporter(exporter).export([SPAN] * 2)

    assert result is SpanExportResult.FAILURE
    assert losses.counts() == {"spans": 2}


@pytest.fixture
def counts(monkeypatch) -> SpanCounts:
    """Those of a process that has ended no span yet."""
    fresh = SpanCounts()
    monkeypatch.setattr(SPANS, "here", fresh)
    return fresh


@pytest.fixture
def stuck(counts) -> Iterator[tuple[TracerProvider, CountingProcessor]]:
    """A provider whose exporter hangs until the test is over."""
    go_on = threading.Event()

    class Stuck(SpanExporter):
        def export(self, spans):
            go_on.wait(10)
            return SpanExportResult.SUCCESS

    processor = CountingProcessor(CountingExporter(Stuck()))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    yield provider, processor
    go_on.set()
    provider.shutdown()


def test_what_is_left_at_the_end_is_counted(stuck, losses: Losses, caplog):
    provider, processor = stuck
    tracer = provider.get_tracer("tests")
    for _ in range(3):
        tracer.start_span("one").end()

    assert not Flusher().flush(provider).wait(0.05)
    processor.give_up()
    processor.give_up()

    assert losses.counts() == {"spans": 3}
    (message,) = caplog.messages
    assert message.startswith("spans were not delivered in time: ")


def test_what_was_exported_or_has_failed_is_not_left(counts, losses: Losses):
    exporter = Failing()
    processor = CountingProcessor(CountingExporter(exporter))
    provider = TracerProvider(shutdown_on_exit=False, sampler=_TwoOfThree())
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("tests")

    def end_spans(number: int) -> None:
        for _ in range(number):
            tracer.start_span("one").end()

    end_spans(6)
    processor.force_flush()
    exporter.fails = False
    end_spans(3)
    processor.force_flush()
    failed, left = dict(losses.counts()), counts.left
    end_spans(3)
    waiting = counts.left
    provider.shutdown()

    assert (failed, left, waiting, counts.left) == ({"spans": 4}, 0, 2, 0)
    # What a parent would miss that has not heard of the failure.
    assert counts.lost == 4


class _TwoOfThree(Sampler):
    """Samples all but each third span."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        if next(self._numbers) % 3:
            return SamplingResult(Decision.RECORD_AND_SAMPLE)
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "two of three"


def test_a_child_makes_its_own_while_its_parent_is_still_at_it(monkeypatch):
    monkeypatch.setattr(forks, "_PATIENCE", 0.05)
    made: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    class Slow(LateExporter):
        def _new(self):
            if os.getpid() == parent:
                begun.set()
                go_on.wait(30)
            made.append(os.getpid())
            return Failing()

    parent = os.getpid()
    late = Slow("slow", {}, "", {}, ProcessResource(lambda: Resource({}), frozenset()))
    making = threading.Thread(target=late.start)
    making.start()
    assert begun.wait(5)

    def deliver() -> None:
        late.export([])
        if made != [os.getpid()]:
            os._exit(9)

    code = fork(deliver).join()
    go_on.set()
    making.join()
    late.start()

    assert (code, made) == (0, [parent])


def test_no_fork_waits_for_a_resource_detector():
    begun, go_on = threading.Event(), threading.Event()

    def find() -> Resource:
        begun.set()
        go_on.wait(30)
        return Resource({})

    class Quick(LateExporter):
        def _new(self):
            return Failing()

    late = Quick("quick", {}, "", {}, ProcessResource(find, frozenset()))
    making = threading.Thread(target=late.start)
    making.start()
    assert begun.wait(5)

    free = COLLECTING.take(5)
    if free:
        COLLECTING.release()
    go_on.set()
    making.join()

    assert free


def test_an_exporter_that_could_not_be_made_is_tried_again(losses: Losses, caplog):
    class Away(LateExporter):
        away = True

        def _new(self):
            if self.away:
                raise OSError("no credentials yet")
            exporter = Failing()
            exporter.fails = False
            return exporter

    late = Away("away", {}, "", {}, ProcessResource(lambda: Resource({}), frozenset()))
    counting = CountingExporter(late)

    results = [counting.export([SPAN] * 2)]
    late.away = False
    results.append(counting.export([SPAN]))

    assert results == [SpanExportResult.FAILURE, SpanExportResult.SUCCESS]
    assert losses.counts() == {"spans": 2}
    assert caplog.messages[0] == (
        "spans could not be delivered: OSError: no credentials yet (counted as spans)"
    )


def test_a_flush_needs_no_new_thread_once_it_is_prepared(stuck, monkeypatch):
    provider, _ = stuck
    calls: list[object] = []
    monkeypatch.setattr(provider, "force_flush", lambda: calls.append(provider))
    flusher = Flusher()
    flusher.prepare()

    def refuse(_thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = flusher.flush(provider)

    assert done.wait(5)
    assert calls == [provider]


def test_that_there_is_nothing_left_to_flush_is_not_logged(caplog):
    class ShutDown:
        def force_flush(self) -> None:
            # As opentelemetry-sdk 1.30 does.
            sdk.warning("Already shutdown, ignoring call to force_flush().")
            sdk.warning("something else")

    sdk = logging.getLogger("opentelemetry.sdk.trace.export")

    assert Flusher().flush(ShutDown()).wait(5)
    sdk.warning("Already shutdown, dropping span.")

    assert caplog.messages == ["something else", "Already shutdown, dropping span."]


def test_a_provider_without_flush_has_nothing_to_wait_for():
    from opentelemetry.trace import NoOpTracerProvider

    assert Flusher().flush(NoOpTracerProvider()).is_set()
