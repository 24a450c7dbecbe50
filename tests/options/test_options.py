"""Options: argument beats environment beats default, and a wrong value says so."""

import atexit
import inspect
import pydoc

import pytest
from huey import MemoryHuey
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from huey_otel import instrument
from huey_otel._options import settings
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._options.export import read_export
from huey_otel._options.settings import Exposed, Settings
from huey_otel._options.table import DISABLED, OPTIONS, VARIABLES
from huey_otel._options.values import OFF, ON, Stream
from huey_otel._setup.instrument import Options

DEFAULTS = Settings(
    disabled=False,
    events=True,
    channel=None,
    publish_enqueued=False,
    tracebacks=True,
    stream=None,
    flush_timeout=5.0,
    publish_metrics=None,
    tracer_provider=None,
    propagation="auto",
    link_after=600.0,
    span_naming="task",
    envelope=False,
    semconv_metrics=False,
    meter_provider=None,
    logger_provider=None,
    registry=None,
    export=read_export({}),
    metrics_export=read_export({}, "metrics"),
    logs_export=None,
    exposed=Exposed(
        host="localhost",
        port=9464,
        duration_buckets=DURATION_BUCKETS,
        wait_buckets=WAIT_BUCKETS,
    ),
    stuck_after=600.0,
)
NO_PAGE = {"exposed": DEFAULTS.exposed._replace(port=None)}
FLAGS = ("publish_enqueued", "tracebacks", "envelope", "semconv_metrics")


def read(env=None, **given):
    return settings.read(given, env or {})


def changed(**changes):
    return DEFAULTS._replace(**changes)


def exposed(**changes):
    return changed(exposed=DEFAULTS.exposed._replace(**changes))


def refused(error, env=None, **given):
    """The text of the error for a value that is not accepted."""
    with pytest.raises(error) as refusal:
        read(env, **given)
    return str(refusal.value)


def test_without_arguments_and_variables_the_defaults_hold():
    assert read() == DEFAULTS


EMITTER = object()
TO_LOGS = read_export({}, "logs")


def spoken(value):
    """A dict of settings, as the name of a test; objects have addresses."""
    plain = (type(None), bool, int, float, str)
    return " ".join(
        f"{key}={one!r}" if isinstance(one, plain) else key
        for key, one in value.items()
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"events": None}, {"events": False}),
        ({"events": False}, {"events": False}),
        ({"events": "off"}, {"events": False}),
        ({"events": "on"}, {}),
        ({"events": True}, {}),
        ({"events": "redis://r:1/0"}, {"events": "redis://r:1/0"}),
        ({"events": EMITTER}, {"events": EMITTER}),
        ({"events": "otlp"}, {"events": False, "logs_export": TO_LOGS}),
        ({"events": " OTLP "}, {"events": False, "logs_export": TO_LOGS}),
        ({"events": "redis,otlp"}, {"logs_export": TO_LOGS}),
        ({"events": "otlp, redis"}, {"logs_export": TO_LOGS}),
        (
            {"events": "REDIS://r:1/0,otlp"},
            {"events": "redis://r:1/0", "logs_export": TO_LOGS},
        ),
        ({"channel": "ch"}, {"channel": "ch"}),
        ({"channel": None}, {}),
        ({"publish_enqueued": True}, {"publish_enqueued": True}),
        ({"publish_enqueued": "yes"}, {"publish_enqueued": True}),
        ({"tracebacks": "Off"}, {"tracebacks": False}),
        ({"stream": None}, {}),
        ({"stream": False}, {}),
        ({"stream": "off"}, {}),
        ({"stream": "0"}, {}),
        ({"stream": True}, {"stream": Stream(10_000, None)}),
        ({"stream": "On"}, {"stream": Stream(10_000, None)}),
        ({"stream": "1"}, {"stream": Stream(10_000, None)}),
        ({"stream": 100}, {"stream": Stream(100, None)}),
        ({"stream": " 50000 "}, {"stream": Stream(50_000, None)}),
        ({"stream": "app:events"}, {"stream": Stream(10_000, "app:events")}),
        ({"flush_timeout": 0}, {"flush_timeout": 0.0}),
        ({"flush_timeout": 1.5}, {"flush_timeout": 1.5}),
        ({"publish_metrics": True}, {"publish_metrics": 5.0}),
        ({"publish_metrics": "on"}, {"publish_metrics": 5.0}),
        ({"publish_metrics": 1}, {"publish_metrics": 1.0}),
        ({"publish_metrics": "1"}, {"publish_metrics": 1.0}),
        ({"publish_metrics": "2.5"}, {"publish_metrics": 2.5}),
        ({"publish_metrics": 200}, {"publish_metrics": 200.0}),
        ({"publish_metrics": "0"}, {}),
        ({"publish_metrics": False}, {}),
        ({"publish_metrics": None}, {}),
        ({"propagation": "link"}, {"propagation": "link"}),
        ({"propagation": read}, {"propagation": read}),
        ({"metrics_port": None}, NO_PAGE),
        ({"metrics_port": False}, NO_PAGE),
        ({"metrics_port": "none"}, NO_PAGE),
        ({"metrics_port": "on"}, {}),
        ({"metrics_port": "9464"}, {}),
        ({"flush_timeout": "2.5"}, {"flush_timeout": 2.5}),
        ({"span_naming": "Queue"}, {"span_naming": "queue"}),
        ({"events": "REDIS://r:1/0"}, {"events": "redis://r:1/0"}),
    ],
    ids=spoken,
)
def test_arguments_become_settings(given, expected):
    assert read(**given) == changed(**expected)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HUEY_OTEL_DISABLED": "1"}, {"disabled": True}),
        ({"HUEY_OTEL_DISABLED": "0"}, {}),
        ({"HUEY_OTEL_DISABLED": ""}, {}),
        ({"HUEY_OTEL_DISABLED": " Yes "}, {"disabled": True}),
        ({"HUEY_OTEL_EVENTS": ""}, {}),
        ({"HUEY_OTEL_EVENTS": "redis://r:1/0"}, {"events": "redis://r:1/0"}),
        ({"HUEY_OTEL_CHANNEL": "ch"}, {"channel": "ch"}),
        ({"HUEY_OTEL_STREAM": "1"}, {"stream": Stream(10_000, None)}),
        ({"HUEY_OTEL_STREAM": "no"}, {}),
        ({"HUEY_OTEL_STREAM": "250"}, {"stream": Stream(250, None)}),
        ({"HUEY_OTEL_STREAM": " a b "}, {"stream": Stream(10_000, "a b")}),
        ({"HUEY_OTEL_CHANNEL": ""}, {}),
        ({"HUEY_OTEL_FLUSH_TIMEOUT": "0.5"}, {"flush_timeout": 0.5}),
        ({"HUEY_OTEL_PROPAGATION": " child "}, {"propagation": "child"}),
        *(({variable: empty}, {}) for variable in VARIABLES for empty in ("", " ")),
    ],
    ids=spoken,
)
def test_variables_become_settings(env, expected):
    assert read(env) == changed(**expected)


@pytest.mark.parametrize("word", [*ON, *OFF, "ON", " No "])
def test_the_same_words_mean_on_and_off_everywhere(word):
    on = word.strip().lower() in ON

    env = {OPTIONS[name].variable: word for name in FLAGS}
    env |= {"HUEY_OTEL_EVENTS": word}
    said = [read(env), read(**dict.fromkeys((*FLAGS, "events"), word))]

    assert said == [changed(events=on, **dict.fromkeys(FLAGS, on))] * 2


@pytest.mark.parametrize(
    ("raw", "port"),
    [
        *(("0", 0), ("1", 1), ("9000", 9000), (" 9000 ", 9000), ("65535", 65535)),
        *(("off", None), ("None", None), ("no", None), ("false", None)),
        *(("on", 9464), ("yes", 9464), ("true", 9464)),
    ],
)
def test_the_port_in_the_environment(raw, port):
    assert read({"HUEY_OTEL_METRICS_PORT": raw}) == exposed(port=port)


def test_buckets_and_host_in_the_environment():
    env = {
        "HUEY_OTEL_METRICS_HOST": "0.0.0.0",
        "HUEY_OTEL_DURATION_BUCKETS": "0.1, 1,10",
        "HUEY_OTEL_WAIT_BUCKETS": "1,inf",
    }

    assert read(env) == exposed(
        host="0.0.0.0", duration_buckets=(0.1, 1.0, 10.0), wait_buckets=(1.0,)
    )


def test_arguments_beat_the_environment():
    env = {
        "HUEY_OTEL_EVENTS": "redis://r:1/0",
        "HUEY_OTEL_CHANNEL": "env",
        "HUEY_OTEL_PUBLISH_ENQUEUED": "1",
        "HUEY_OTEL_TRACEBACKS": "0",
        "HUEY_OTEL_FLUSH_TIMEOUT": "9",
        "HUEY_OTEL_METRICS_PORT": "nonsense",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "nonsense",
    }

    said = read(
        env,
        events=None,
        channel="given",
        publish_enqueued=False,
        tracebacks=True,
        flush_timeout=1,
        metrics_port=0,
    )

    assert said == changed(
        events=False,
        channel="given",
        flush_timeout=1.0,
        exposed=DEFAULTS.exposed._replace(port=0),
    )


def test_the_process_environment_is_read_at_the_call(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HUEY_OTEL_CHANNEL", "late")

    assert settings.read({}) == changed(channel="late")


WORDS = "one of on, yes, true, 1, off, no, false, 0, none"
SECONDS = "expected a number of seconds from 0 to 1,000,000,000"
PORT = "expected a port from 0 (a free one) to 65535, or off (None) for no metrics page"
CHANNEL = (
    "expected the name of a channel, a str that is not empty,"
    " or None for the name of the queue"
)
HOST = "expected a host name or an address to listen on, without a port"
STREAM = (
    "expected off (None), on (10,000 entries), a number of entries from 100 to"
    " 1,000,000,000, or a key of Redis that does not begin with a digit"
)
EVENTS = (
    "expected off (None), on (the Redis of the queue), a Redis URL such as"
    " redis://localhost:6379/0, otlp (as log records), redis,otlp or a URL,otlp (both),"
    " or a RedisEventEmitter"
)
BUCKETS = "expected increasing numbers of seconds above 0, at most 100"
PROVIDER = "expected an opentelemetry.trace.TracerProvider, or None"
PAGES = "expected off (None), on (each 5 s), or a number of seconds from 1 to 200"
REGISTRY = "expected a prometheus_client.CollectorRegistry, or None"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel": 1}, f"channel=1: {CHANNEL}"),
        (
            {"publish_enqueued": 1},
            f"publish_enqueued=1: expected True or False, or {WORDS}",
        ),
        ({"tracebacks": None}, f"tracebacks=None: expected True or False, or {WORDS}"),
        ({"stream": 1e4}, f"stream=10000.0: {STREAM}"),
        ({"stream": b"k"}, f"stream=<bytes>: {STREAM}"),
        ({"flush_timeout": True}, f"flush_timeout=True: {SECONDS}"),
        ({"flush_timeout": None}, f"flush_timeout=None: {SECONDS}"),
        ({"publish_metrics": [5]}, f"publish_metrics=<list>: {PAGES}"),
        ({"metrics_host": None}, f"metrics_host=None: {HOST}"),
        ({"metrics_port": 1.0}, f"metrics_port=1.0: {PORT}"),
        ({"duration_buckets": None}, f"duration_buckets=None: {BUCKETS}"),
        (
            {"duration_buckets": ["redis://u:secret@h"]},
            f"duration_buckets=<list>: {BUCKETS}; 'redis://h' is no number",
        ),
        ({"registry": atexit}, f"registry={atexit!r}: {REGISTRY}"),
        ({"tracer_provider": trace}, f"tracer_provider={trace!r}: {PROVIDER}"),
        (
            {"wait_buckets": [True]},
            f"wait_buckets=<list>: {BUCKETS}; True is no number",
        ),
        (
            {"tracer_provider": TracerProvider},
            f"tracer_provider={TracerProvider!r}: {PROVIDER};"
            " this is the class, not an instance",
        ),
        ({"tracer_provider": "otlp"}, f"tracer_provider='otlp': {PROVIDER}"),
        (
            {"meter_provider": MeterProvider},
            f"meter_provider={MeterProvider!r}: expected an"
            " opentelemetry.metrics.MeterProvider, or None;"
            " this is the class, not an instance",
        ),
        (
            {"logger_provider": "otlp"},
            "logger_provider='otlp': expected an"
            " opentelemetry._logs.LoggerProvider, or None",
        ),
        (
            {"registry": CollectorRegistry},
            f"registry={CollectorRegistry!r}: expected a"
            " prometheus_client.CollectorRegistry, or None;"
            " this is the class, not an instance",
        ),
    ],
    ids=str,
)
def test_an_argument_of_a_wrong_type_is_refused(given, message):
    assert refused(TypeError, **given) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel": ""}, f"channel='': {CHANNEL}"),
        (
            {"tracebacks": "maybe"},
            f"tracebacks='maybe': expected True or False, or {WORDS}",
        ),
        ({"stream": 1}, f"stream=1: {STREAM}"),
        ({"stream": 99}, f"stream=99: {STREAM}"),
        ({"stream": "99"}, f"stream='99': {STREAM}"),
        ({"stream": 10**10}, f"stream={10**10}: {STREAM}"),
        ({"stream": "-200"}, f"stream='-200': {STREAM}"),
        ({"stream": "10k"}, f"stream='10k': {STREAM}"),
        ({"stream": "1e4"}, f"stream='1e4': {STREAM}"),
        ({"stream": ""}, f"stream='': {STREAM}"),
        ({"flush_timeout": -1}, f"flush_timeout=-1: {SECONDS}"),
        ({"flush_timeout": float("inf")}, f"flush_timeout=inf: {SECONDS}"),
        ({"flush_timeout": float("nan")}, f"flush_timeout=nan: {SECONDS}"),
        *(
            ({"publish_metrics": value}, f"publish_metrics={value!r}: {PAGES}")
            for value in (0, 0.5, 201, float("nan"), "often", "0.5")
        ),
        ({"metrics_host": ""}, f"metrics_host='': {HOST}"),
        ({"metrics_port": -1}, f"metrics_port=-1: {PORT}"),
        ({"metrics_port": 99999}, f"metrics_port=99999: {PORT}"),
        ({"metrics_port": "http"}, f"metrics_port='http': {PORT}"),
        ({"metrics_host": "http://h"}, f"metrics_host='http://h': {HOST}"),
        ({"metrics_host": "h:9464"}, f"metrics_host='h:9464': {HOST}"),
        ({"metrics_host": "  "}, f"metrics_host='  ': {HOST}"),
        ({"channel": "\ud800"}, f"channel='\\ud800': {CHANNEL}; this is no UTF-8"),
        ({"flush_timeout": 10**400}, f"flush_timeout={10**400}: {SECONDS}"),
        ({"link_after": 2e9}, f"link_after=2000000000.0: {SECONDS}"),
        (
            {"duration_buckets": [2**53, 2**53 + 1]},
            f"duration_buckets=<list>: {BUCKETS}",
        ),
        ({"duration_buckets": []}, f"duration_buckets=<list>: {BUCKETS}"),
        ({"duration_buckets": (1, 1)}, f"duration_buckets=<tuple>: {BUCKETS}"),
        (
            {"duration_buckets": range(1, 102)},
            f"duration_buckets=range(1, 102): {BUCKETS}; these are 101",
        ),
        ({"span_naming": "tasks"}, "span_naming='tasks': expected one of task, queue"),
        (
            {"propagation": "never"},
            "propagation='never': expected one of auto, child, link, none,"
            " or a callable that returns one of these for a task",
        ),
        ({"events": "localhost"}, f"events='localhost': {EVENTS}"),
        ({"events": "kafka,otlp"}, f"events='kafka,otlp': {EVENTS}"),
        ({"events": "on,otlp"}, f"events='on,otlp': {EVENTS}"),
        ({"events": "redis,redis,otlp"}, f"events='redis,redis,otlp': {EVENTS}"),
        ({"events": "redis"}, f"events='redis': {EVENTS}"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(given, message):
    assert refused(ValueError, **given) == message


@pytest.mark.parametrize(
    ("variable", "raw", "expected"),
    [
        ("HUEY_OTEL_DISABLED", "maybe", f"expected True or False, or {WORDS}"),
        ("HUEY_OTEL_TRACEBACKS", "2", f"expected True or False, or {WORDS}"),
        ("HUEY_OTEL_EVENTS", "localhost", EVENTS),
        ("HUEY_OTEL_FLUSH_TIMEOUT", "soon", SECONDS),
        ("HUEY_OTEL_FLUSH_TIMEOUT", "-1", SECONDS),
        ("HUEY_OTEL_LINK_AFTER", "inf", SECONDS),
        ("HUEY_OTEL_METRICS_PORT", "99999", PORT),
        ("HUEY_OTEL_METRICS_PORT", "-1", PORT),
        ("HUEY_OTEL_METRICS_PORT", "http", PORT),
        ("HUEY_OTEL_METRICS_PORT", "9²", PORT),
        ("HUEY_OTEL_WAIT_BUCKETS", "1;2", BUCKETS),
        ("HUEY_OTEL_WAIT_BUCKETS", "2,1", BUCKETS),
        ("HUEY_OTEL_SPAN_NAMING", "Queues", "expected one of task, queue"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(variable, raw, expected):
    assert refused(ValueError, {variable: raw}) == f"{variable}={raw!r}: {expected}"


@pytest.mark.parametrize(
    ("env", "warning"),
    [
        (
            {"OTEL_EXPORTER_PROMETHEUS_PORT": "abc"},
            f"OTEL_EXPORTER_PROMETHEUS_PORT='abc': {PORT}; ignored",
        ),
        (
            {"HUEY_OTEL_METRICS_PRT": "9"},
            "HUEY_OTEL_METRICS_PRT is no setting of huey-otel and has no effect"
            " (did you mean HUEY_OTEL_METRICS_PORT?)",
        ),
        (
            {"HUEY_OTEL_PORT": "9"},
            "HUEY_OTEL_PORT is no setting of huey-otel and has no effect"
            " (did you mean HUEY_OTEL_METRICS_PORT?)",
        ),
        (
            {"huey_otel_events": "off"},
            "huey_otel_events is no setting of huey-otel and has no effect"
            " (did you mean HUEY_OTEL_EVENTS?)",
        ),
        (
            {"HUEY_OTEL_\x1b[31m": "9"},
            "HUEY_OTEL_\\x1b[31m is no setting of huey-otel and has no effect",
        ),
        (
            {"HUEY_OTEL_QUUX": "9"},
            "HUEY_OTEL_QUUX is no setting of huey-otel and has no effect",
        ),
    ],
)
def test_a_variable_without_effect_is_a_warning(env, warning):
    assert read(env) == changed(warnings=(warning,))


def test_a_variable_without_effect_is_logged_once(monkeypatch, caplog):
    monkeypatch.setenv("HUEY_OTEL_CHANNLE", "ch")

    for _ in range(2):
        instrument(MemoryHuey("my-app")).uninstrument()

    assert [(entry.name, entry.getMessage()) for entry in caplog.records] == [
        (
            "huey.otel",
            "HUEY_OTEL_CHANNLE is no setting of huey-otel and has no effect"
            " (did you mean HUEY_OTEL_CHANNEL?)",
        )
    ]


def test_opentelemetrys_own_variables_set_the_pages_address():
    env = {
        "OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "9000",
    }

    assert read(env) == exposed(host="0.0.0.0", port=9000)


def test_our_variables_beat_opentelemetrys():
    env = {
        "OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "nonsense",
        "HUEY_OTEL_METRICS_HOST": "::1",
        "HUEY_OTEL_METRICS_PORT": "off",
    }

    assert read(env) == exposed(host="::1", port=None)


def test_the_brackets_of_an_ipv6_host_are_left_out():
    assert read(metrics_host=" [::1] ") == exposed(host="::1")


def test_disabled_a_wrong_variable_is_ignored():
    env = {"HUEY_OTEL_DISABLED": "1", "HUEY_OTEL_CHANNEL": "c"}

    assert read(env) == changed(disabled=True, channel="c")
    assert read({**env, "HUEY_OTEL_METRICS_PORT": "x"}) == changed(disabled=True)


def test_an_unknown_option_is_refused_and_the_nearest_named():
    assert refused(TypeError, chanel="x", trace=True) == (
        "instrument() does not know chanel (did you mean channel?), trace"
        " (did you mean tracebacks?);"
        f" accepted are {', '.join(OPTIONS)}"
    )


# Everything that is generated from the table.


def test_type_checkers_know_each_option():
    assert list(Options.__annotations__) == list(OPTIONS)


def test_the_signature_has_each_option_with_its_default():
    parameters = inspect.signature(instrument).parameters

    assert list(parameters) == ["huey", *OPTIONS]
    assert str(parameters["flush_timeout"]) == "flush_timeout: float = 5"
    assert str(parameters["metrics_port"]) == "metrics_port: int | str | None = 9464"
    assert str(parameters["tracebacks"]) == "tracebacks: bool | str = on"


def test_the_help_text_says_what_each_option_is_for():
    text = pydoc.plain(pydoc.render_doc(instrument))

    for option in OPTIONS.values():
        assert f"  {option.name} ({option.default_text}" in text
        assert option.variable in text
    assert "NotGiven" not in text
    assert "Never" not in text


@pytest.mark.parametrize(
    "option", [*OPTIONS.values(), DISABLED], ids=lambda one: one.variable or one.name
)
def test_each_option_says_what_it_is_for(option):
    assert option.purpose
    assert option.default_text
    assert option.kind.accepted
