"""Standard variables that OpenTelemetry refuses: named once, and as if unset."""

import functools
import os
import threading
from pathlib import Path

import pytest

from huey_otel._options.export import read_export
from huey_otel._options.otel_variables import replaced
from runtime import otlp_receiver as otlp
from tests.support.forks import fork
from tests.support.programs import ROOT, run_program

HTTP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318"}
GRPC = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4317"}
LARGEST = 2**31 - 1
BATCH = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"

PLAIN = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", f"a whole number from 1 to {LARGEST}"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "1" * 40, f"a whole number from 1 to {LARGEST}"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "2.5", f"a whole number from 1 to {LARGEST}"),
    (BATCH, "many", f"a whole number from 1 to {LARGEST}"),
    ("OTEL_BSP_SCHEDULE_DELAY", "0", f"a whole number from 1 to {LARGEST}"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "-1", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-5", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "-5", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "no", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "no", f"a whole number from 0 to {LARGEST}"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-2", f"a whole number from 0 to {LARGEST}"),
    (
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "-2",
        f"a whole number from 0 to {LARGEST}",
    ),
    ("OTEL_SDK_DISABLED", "1", "one of true, false"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "a number of seconds above 0"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "nan", "a number of seconds above 0"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "a number of seconds above 0"),
    (
        "OTEL_TRACES_SAMPLER",
        "sometimes",
        "one of always_off, always_on, parentbased_always_off, parentbased_always_on,"
        " parentbased_traceidratio, traceidratio",
    ),
]
OF_GRPC = [
    (
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES",
        "unavailable,sometimes",
        "some of aborted, already_exists, cancelled, data_loss, deadline_exceeded,"
        " failed_precondition, internal, invalid_argument, not_found, ok,"
        " out_of_range, permission_denied, resource_exhausted, unauthenticated,"
        " unavailable, unimplemented, unknown",
    ),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate", "one of gzip, none"),
    ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "perhaps", "one of true, false"),
]
OF_HTTP = [("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "one of deflate, gzip, none")]
CASES = [
    (place, *case)
    for place, cases in ((HTTP, PLAIN + OF_HTTP), (GRPC, PLAIN + OF_GRPC))
    for case in cases
]


@pytest.mark.parametrize(("place", "name", "value", "accepted"), CASES, ids=str)
def test_a_value_that_is_refused_is_named_and_unset(place, name, value, accepted):
    export = read_export({**place, name: value})

    assert export.ignored == (f"{name}={value!r}: expected {accepted}",)
    assert export.instead == {name: None}


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "600", BATCH: "600"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "0"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x, b=c=d,"},
        {"OTEL_TRACES_SAMPLER": "TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "1e-3"},
        {"OTEL_TRACES_SAMPLER_ARG": "not read"},
        {"OTEL_RESOURCE_ATTRIBUTES": "a=b,c=d=e"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,*"},
        {"OTEL_METRIC_EXPORT_INTERVAL": "not of spans"},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [HTTP, GRPC], ids=["HTTP", "gRPC"])
def test_accepted_values_stay(place, given):
    export = read_export({**place, **given})

    assert (export.ignored, export.instead) == ((), {})


@pytest.mark.parametrize("place", [HTTP, GRPC], ids=["HTTP", "gRPC"])
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}, 0.5),
        ({"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1e3"}, 1000.0),
        (
            {
                "OTEL_EXPORTER_OTLP_TIMEOUT": "9",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5",
            },
            2.5,
        ),
    ],
    ids=["both signals", "traces", "traces first"],
)
def test_a_timeout_is_an_argument_of_the_exporter(place, given, seconds):
    export = read_export({**place, **given})

    assert (export.ignored, export.instead) == ((), dict.fromkeys(given))
    (exporter,) = export.exporters
    assert export.asked(exporter) == {"timeout": seconds}
    assert export.asked("console") == {}


@pytest.mark.parametrize("place", [{}, HTTP, GRPC], ids=["off", "HTTP", "gRPC"])
def test_a_variable_that_is_empty_is_unset(monkeypatch, place):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "")
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", " ")

    export = read_export(place)

    assert export.ignored == ()
    assert export.instead == {
        "OTEL_BSP_SCHEDULE_DELAY": None,
        "OTEL_PYTHON_TRACER_PROVIDER": None,
    }


@pytest.mark.parametrize(
    "item",
    ["x-bin=a", "X-Bin=a", "x!y=a", "a=b%09c", "grpc-timeout=a"],
)
def test_a_header_that_grpc_refuses_is_left_out(item):
    name = "OTEL_EXPORTER_OTLP_HEADERS"
    env = {name: f"a=1,{item}"}

    assert read_export({**GRPC, **env}).instead == {name: "a=1"}
    assert read_export({**HTTP, **env}).instead == {}


def test_a_header_for_both_protocols_is_as_both_take_it():
    name = "OTEL_EXPORTER_OTLP_HEADERS"
    both = {"OTEL_TRACES_EXPORTER": "otlp_proto_http,otlp_proto_grpc"}

    export = read_export({**HTTP, **both, name: "x-bin=a,b=%0A,c=2"})

    assert export.instead == {name: "c=2"}


OF_BOTH, OF_TRACES = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"


@pytest.mark.parametrize(
    ("place", "given", "expected"),
    [
        (GRPC, (OF_BOTH + "CERTIFICATE", OF_BOTH + "CLIENT_KEY"), "CLIENT_CERTIFICATE"),
        (GRPC, (OF_BOTH + "CERTIFICATE", OF_BOTH + "CLIENT_CERTIFICATE"), "CLIENT_KEY"),
        (
            GRPC,
            (
                OF_TRACES + "CERTIFICATE",
                OF_BOTH + "CLIENT_KEY",
                OF_TRACES + "CLIENT_CERTIFICATE",
            ),
            "CLIENT_KEY",
        ),
        (HTTP, (OF_BOTH + "CLIENT_KEY",), "CLIENT_CERTIFICATE"),
    ],
    ids=["key", "certificate", "certificate of traces", "key over HTTP"],
)
def test_half_of_a_tls_pair_is_refused_and_the_other_half_named(place, given, expected):
    export = read_export({**place, **dict.fromkeys(given, __file__)})

    half = given[-1]
    other = half.rpartition("CLIENT_")[0] + expected
    assert export.unread() == {half: f"{half}: expected {other} with it"}


@pytest.mark.parametrize(
    ("place", "given"),
    [
        (GRPC, ("CERTIFICATE",)),
        (GRPC, ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")),
        # Without that of a server gRPC asks for no other file.
        (GRPC, ("CLIENT_KEY",)),
        # One file may have both.
        (HTTP, ("CERTIFICATE", "CLIENT_CERTIFICATE")),
    ],
    ids=str,
)
def test_complete_tls_files_are_accepted(place, given):
    files = {OF_BOTH + name: __file__ for name in given}

    assert read_export({**place, **files}).unread() == {}


def test_a_child_has_the_variables_from_before_they_were_replaced(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_TESTS", "set")
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with replaced({"HUEY_OTEL_TESTS": "replaced"}):
            begun.set()
            go_on.wait(30)

    holding = threading.Thread(target=hold)
    holding.start()
    assert begun.wait(5)

    def check() -> None:
        if os.environ.get("HUEY_OTEL_TESTS") != "set":
            os._exit(9)

    code = fork(check).join()
    go_on.set()
    holding.join()

    assert (code, os.environ["HUEY_OTEL_TESTS"]) == (0, "set")


@pytest.mark.parametrize(
    ("env", "ignored", "instead"),
    [
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": "a=1,secret,b=%0A,c=2"},
            "OTEL_EXPORTER_OTLP_HEADERS, item 2, 3: expected name=value with the value"
            " URL-encoded, separated by commas",
            {"OTEL_EXPORTER_OTLP_HEADERS": "a=1,c=2"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "shop"},
            "OTEL_RESOURCE_ATTRIBUTES, item 1: expected key=value, separated by commas",
            {"OTEL_RESOURCE_ATTRIBUTES": None},
        ),
        (
            {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,moon"},
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS='moon': expected some of *, ",
            {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"},
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "50%"},
            "OTEL_TRACES_SAMPLER_ARG='50%': expected a number from 0 to 1",
            {"OTEL_TRACES_SAMPLER_ARG": None},
        ),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "100", BATCH: "200"},
            f"{BATCH}='200': expected at most the size of the queue,"
            " OTEL_BSP_MAX_QUEUE_SIZE, which is 100",
            {BATCH: "100"},
        ),
    ],
    ids=["headers", "resource", "detectors", "sampler", "batch"],
)
def test_the_accepted_items_of_a_list_stay(env, ignored, instead):
    export = read_export({**HTTP, **env})

    (said,) = export.ignored
    assert said.startswith(ignored)
    assert export.instead == instead


def test_a_small_queue_makes_small_batches_silently():
    export = read_export({**HTTP, "OTEL_BSP_MAX_QUEUE_SIZE": "1"})

    assert (export.ignored, export.instead) == ((), {BATCH: "1"})


def test_the_grpc_exporter_is_not_told_of_no_compression():
    export = read_export({**GRPC, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"})

    assert (export.ignored, export.instead) == (
        (),
        {"OTEL_EXPORTER_OTLP_COMPRESSION": None},
    )


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "a number of milliseconds above 0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "inf", "a number of milliseconds above 0"),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "all",
            "one of always_off, always_on, trace_based",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "-1", "a number of seconds above 0"),
    ],
)
def test_a_wrong_metrics_variable_is_named_and_unset(name, value, accepted):
    export = read_export({**HTTP, name: value}, "metrics")

    assert export.ignored == (f"{name}={value!r}: expected {accepted}",)
    assert export.instead == {name: None}


def test_replaced_variables_are_put_back(monkeypatch):
    monkeypatch.setenv("OTEL_A", "1")
    monkeypatch.delenv("OTEL_B", raising=False)
    monkeypatch.setenv("OTEL_C", "3")

    with replaced({"OTEL_A": None, "OTEL_B": "2"}):
        inside = {name: os.environ.get(f"OTEL_{name}") for name in "ABC"}
    after = {name: os.environ.get(f"OTEL_{name}") for name in "ABC"}

    assert inside == {"A": None, "B": "2", "C": "3"}
    assert after == {"A": "1", "B": None, "C": "3"}


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    (tmp_path / "ca").write_text("")

    certificate, key = OF_BOTH + "CERTIFICATE", OF_TRACES + "CERTIFICATE"
    given = {certificate: f"{tmp_path}/ca", key: f"{tmp_path}/key"}
    export = read_export({**HTTP, **given})

    assert read_export(given).unread() == {}
    assert export.unread() == {
        key: f"{key}='{tmp_path}/key': expected a file that can be read"
    }


PROGRAM = """
    import logging, sys
    logging.basicConfig(format="%(name)s: %(message)s")
    from huey import MemoryHuey
    from huey_otel import instrument
    hueys = [MemoryHuey("one"), MemoryHuey("two")]
    tasks = []
    for huey in hueys:
        instrumentation = instrument(huey)
        tasks.append(huey.task()(lambda: None))
"""

run = functools.partial(run_program, PROGRAM)


REFUSED = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
    "OTEL_BSP_SCHEDULE_DELAY": "later",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-1",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "few",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "zip",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "moon",
    "OTEL_PROPAGATORS": "tracecontext,pigeon",
    "OTEL_PYTHON_TRACER_PROVIDER": "mine",
    "OTEL_PYTHON_METER_PROVIDER": "mine",
    "OTEL_TRACES_SAMPLER": "sometimes",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
}


@pytest.mark.parametrize("protocol", [otlp.HTTP, otlp.GRPC])
def test_telemetry_goes_on_with_the_defaults(protocol):
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "a=b,hunter2"}
    with otlp.receiver(protocol) as receiver:
        done = run(
            """
            for task in tasks:
                print(task().id is not None)
            """,
            **receiver.environ,
            **REFUSED,
            **headers,
        )

        names = [span.name for span in receiver.spans]
    lines = done.stderr.splitlines()
    assert (done.stdout, names) == ("True\n" * 2, ["enqueue __main__.<lambda>"] * 2)
    assert [line for line in lines if "expected" not in line] == []
    assert sorted(line.split("=")[0].split(",")[0] for line in lines) == sorted(
        f"huey.otel: {name}" for name in {**REFUSED, **headers}
    )
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("given", "kept"),
    [("pigeon", "traceparent"), ("pigeon,b3", "b3"), ("pigeon,none", None)],
)
def test_a_missing_propagator_is_ignored_and_named(given, kept):
    done = run(
        """
        from opentelemetry import propagate, trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        from huey_otel._wire.carrier import decode
        tasks[0]()
        print(next(iter(decode(hueys[0].storage.dequeue()).texts), None))
        """,
        OTEL_PROPAGATORS=given,
    )

    assert done.stdout == f"{kept}\n", done.stderr
    assert done.stderr.startswith(
        "huey.otel: OTEL_PROPAGATORS='pigeon': expected some of "
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:9",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
            },
            "OTEL_EXPORTER_OTLP_CERTIFICATE='/nowhere': expected a file that can be"
            " read",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:4317",
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "/nowhere",
            },
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY='/nowhere': expected a file that can"
            " be read",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9",
                "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "missing",
            },
            "the exporter otlp_proto_http cannot be made: LookupError:"
            " opentelemetry_otlp_credential_provider has no 'missing'",
        ),
    ],
    ids=["certificate", "key", "credentials"],
)
def test_an_exporter_that_cannot_be_made_turns_spans_off(environ, why):
    done = run(
        """
        for task in tasks:
            task()
        print(instrumentation._outputs.tracer.resolved().where)
        print(instrumentation.dropped)
        """,
        **environ,
    )

    assert done.stdout == f"off, {why}\n{{}}\n"
    assert done.stderr == f"huey.otel: spans are off: {why}\n"


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_a_consumers_start_line_knows_of_a_broken_exporter(used, tmp_path):
    package = tmp_path / "vendor-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: vendor\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_traces_exporter]\nvendor = vendor:Exporter\n"
    )
    (tmp_path / "vendor.py").write_text(
        "class Exporter:\n"
        "    def __init__(self):\n"
        "        raise RuntimeError('no licence')\n"
    )
    done = run(
        f"""
        if {used}:
            tasks[0]()
        logging.getLogger("huey.otel").setLevel(logging.INFO)
        consumer = hueys[1].create_consumer(workers=1)
        consumer.start()
        consumer.stop()
        """,
        PYTHONPATH=f"{ROOT}:{tmp_path}",
        OTEL_TRACES_EXPORTER="vendor",
        HUEY_OTEL_METRICS_PORT="off",
    )

    why = "the exporter vendor cannot be made: RuntimeError: no licence"
    said = " ".join(done.stderr.split("observes")[1].split())
    assert f" spans: off, {why} propagation:" in said
    assert f"huey.otel: spans are off: {why}\n" in done.stderr
    assert "Traceback" not in done.stderr
