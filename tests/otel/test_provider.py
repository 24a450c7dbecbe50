"""Which provider gets the spans: the argument's, the application's, or a built one."""

import functools

import pytest
from huey import MemoryHuey
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from huey_otel import instrument
from tests.support.programs import run_program
from tests.support.spans import Spans

PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
EXPORTER = "OTEL_TRACES_EXPORTER"
NONE_YET = "none until the application sets a tracer provider; {}"

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


def test_the_argument_wins_over_the_environment(monkeypatch):
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
        instrumentation._outputs.tracer.resolved().where
        == "to the tracer_provider= given"
    )


@pytest.mark.parametrize(
    ("attributes", "version"),
    [({"service.version": "3.1"}, "3.1"), ({"service.name": "shop"}, "")],
)
def test_version_of_the_service_is_that_of_the_resource(attributes, version):
    provider = TracerProvider(resource=Resource(attributes))
    instrumentation = instrument(MemoryHuey("my-app"), tracer_provider=provider)

    assert instrumentation._outputs.tracer.service_version() == version


def test_version_of_the_service_is_empty_without_a_provider():
    instrumentation = instrument(MemoryHuey("my-app"))

    assert instrumentation._outputs.tracer.service_version() == ""


def test_an_argument_that_is_no_provider_is_refused():
    with pytest.raises(TypeError, match="tracer_provider=7: expected an"):
        instrument(MemoryHuey("my-app"), tracer_provider=7)


def test_a_producer_without_provider_imports_no_sdk_and_starts_no_thread():
    done = run(
        """
        import threading
        add()
        huey.execute(huey.dequeue())
        instrumentation.flush()
        print(instrumentation._outputs.tracer.resolved().where)
        # redis-py 8 imports a part of it by itself.
        print([name for name in set(sys.modules) - bare
               if "opentelemetry.sdk" in name or "opentelemetry.exporter" in name])
        print([t.name for t in threading.enumerate() if "flush" in t.name])
        """
    )

    where = NONE_YET.format("OTEL_EXPORTER_OTLP_ENDPOINT is not set")
    assert done.stdout.splitlines() == [where, "[]", "[]"]


def test_a_configuration_file_stands_in_for_the_variables_and_is_not_read():
    done = run(
        "add(); print(instrumentation._outputs.tracer.resolved().where)",
        OTEL_CONFIG_FILE="/nowhere/otel.yaml",
        **{PLACE: "http://127.0.0.1:1", EXPORTER: "zipkin"},
    )

    where = NONE_YET.format(
        "OTEL_CONFIG_FILE is set, and that file was not read or has no"
        " tracer_provider; only opentelemetry-instrument with opentelemetry-distro"
        " reads it"
    )
    assert done.stdout.splitlines() == [where]
    assert done.stderr == ""


def test_a_wrong_variable_is_not_logged_if_it_is_not_needed():
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        trace.set_tracer_provider(TracerProvider())
        add()
        print(instrumentation._outputs.tracer.resolved().where)
        """,
        **{EXPORTER: "zipkin"},
    )

    assert done.stdout == "to the application's tracer provider\n"
    assert done.stderr == ""


def test_a_wrong_variable_is_logged_if_it_is_needed():
    done = run(
        """
        add()
        print(instrumentation._outputs.tracer.resolved().where)
        """,
        **{EXPORTER: "zipkin"},
    )

    assert done.stdout.startswith(
        NONE_YET.format("OTEL_TRACES_EXPORTER='zipkin': expected")
    )
    assert done.stderr.startswith(
        "huey.otel: OTEL_TRACES_EXPORTER='zipkin': expected some of console, none,"
    )


def test_an_empty_propagators_variable_means_the_default():
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
def test_an_unknown_global_provider_is_named_and_breaks_nothing(named):
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
def test_spans_are_off_and_the_reason_is_named(environ, where):
    done = run(
        """
        add()
        add()
        print(instrumentation._outputs.tracer.resolved().where)
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
        provided = instrumentation._outputs.tracer.resolved()
        print(provided.where, provided.provider is mine)
        """,
        **{PLACE: "http://a"},
    )

    assert done.stdout == "to the application's tracer provider True\n"


def test_a_disabled_sdk_turns_the_applications_own_provider_off():
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        trace.set_tracer_provider(TracerProvider())
        add()
        print(instrumentation._outputs.tracer.resolved().where)
        """,
        OTEL_SDK_DISABLED="true",
    )

    assert done.stdout == "off, OTEL_SDK_DISABLED is set\n"


def test_a_provider_that_is_set_later_gets_all_later_spans():
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
        print(provider is instrumentation._outputs.tracer.resolved().provider)
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


def test_threads_that_start_their_first_span_together_build_one_provider():
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
        print(first.tracer.resolved() is second.tracer.resolved())
        """,
        **{PLACE: "http://127.0.0.1:9", "HUEY_OTEL_FLUSH_TIMEOUT": "0"},
    )

    assert done.stdout == "True\n"
