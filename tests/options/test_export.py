"""Exporters and their places, read from OpenTelemetry's own variables."""

import re

import pytest

from huey_otel._options.export import read_export

HTTP = ("otlp_proto_http",)
GRPC = ("otlp_proto_grpc",)
PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_PLACE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
IDS = "OTEL_PYTHON_ID_GENERATOR"
UNSET = "OTEL_EXPORTER_OTLP_ENDPOINT is not set"


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
def test_the_environment_chooses_exporters_and_their_place(env, exporters, where):
    export = read_export(env)

    assert export.exporters == exporters
    assert where in (None, export.over(export.exporters))


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
def test_without_an_exporter_the_reason_is_named(env, why):
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
def test_a_value_that_cannot_be_used_is_ignored_and_named(env, message):
    (ignored,) = read_export(env).ignored

    assert re.match(message, ignored)


def test_an_unknown_id_generator_is_ignored_and_named():
    env = {PLACE: "http://a", IDS: "xray"}

    assert read_export(env).ignored == (f"{IDS}='xray': expected one of random",)
    assert read_export({**env, IDS: "random"}).id_generator == "random"
    assert read_export({IDS: "xray"}).ignored == ()


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
def test_the_queue_is_the_service_unless_the_environment_names_one(env, attributes):
    assert read_export(env).resource("my-app") == attributes


@pytest.mark.parametrize(
    ("signal", "part"),
    [
        ("traces", "tracer_provider"),
        ("metrics", "meter_provider"),
        ("logs", "logger_provider"),
    ],
)
def test_a_configuration_file_leaves_the_variables_no_say(signal, part):
    export = read_export({"OTEL_CONFIG_FILE": "otel.yaml", PLACE: "http://a"}, signal)

    assert (export.in_file, export.exporters, export.ignored) == (True, (), ())
    assert export.why_none == (
        "OTEL_CONFIG_FILE is set, and that file was not read or has no"
        f" {part}; only opentelemetry-instrument with opentelemetry-distro reads it"
    )
