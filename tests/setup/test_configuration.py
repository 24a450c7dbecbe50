"""The options in OpenTelemetry's configuration file."""

import re
from dataclasses import fields

import pytest

from huey_otel._options import settings
from huey_otel._options.table import OPTIONS
from huey_otel._setup.configuration import HueyConfiguration

OBJECTS = {"tracer_provider", "meter_provider", "logger_provider", "registry"}
CAN_BE_OFF = ["events", "stream", "publish_metrics", "metrics_port"]
FLAGS = ["publish_enqueued", "tracebacks", "envelope", "semconv_metrics"]


@pytest.fixture(autouse=True)
def not_refused(monkeypatch):
    monkeypatch.setattr(HueyConfiguration, "refused", "")


def test_a_file_says_each_option_but_objects():
    assert {field.name for field in fields(HueyConfiguration)} == (
        set(OPTIONS) - OBJECTS
    )


def test_what_the_file_leaves_out_is_none():
    made = HueyConfiguration(link_after=60, channel=None)

    said = {
        field.name: value
        for field in fields(made)
        if (value := getattr(made, field.name)) is not None
    }
    assert said == {"link_after": 60}


@pytest.mark.parametrize("name", [*CAN_BE_OFF, *FLAGS])
@pytest.mark.parametrize(("text", "value"), [("on", True), ("off", False)])
def test_yaml_s_on_and_off_mean_what_the_words_mean(name, text, value):
    # YAML 1.1 reads these words as booleans.
    HueyConfiguration(**{name: value})

    variable = {OPTIONS[name].variable: text}
    assert settings.read({name: value}, {}) == settings.read({}, variable)


@pytest.mark.parametrize("name", [*CAN_BE_OFF, *FLAGS])
@pytest.mark.parametrize("number", [0, 1])
def test_zero_and_one_mean_what_they_mean_in_a_variable(name, number):
    # `${VARIABLE}` becomes a number where the variable has one.
    variable = {OPTIONS[name].variable: str(number)}
    try:
        expected = settings.read({}, variable)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(_reason(error))):
            HueyConfiguration(**{name: number})
        return

    made = HueyConfiguration(**{name: number})

    assert settings.read({name: getattr(made, name)}, {}) == expected


def _reason(error):
    return str(error).partition("expected ")[2]


def test_a_file_that_is_accepted_forgets_what_was_refused_before():
    with pytest.raises(ValueError, match="metrics_port=-1"):
        HueyConfiguration(metrics_port=-1)

    HueyConfiguration(metrics_port=0)

    assert HueyConfiguration.refused == ""


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"metric_port": 1},
            TypeError,
            "the configuration file, at instrumentation/development: python: huey,"
            " does not know metric_port (did you mean metrics_port?); accepted are"
            " events, channel, ",
        ),
        ({"registry": "mine"}, TypeError, "does not know registry; accepted are"),
        ({"metrics_port": -1}, ValueError, "metrics_port=-1: expected a port"),
        ({"tracebacks": 7}, TypeError, "tracebacks=7: expected True or False"),
        ({"events": {"url": "redis://a"}}, TypeError, "events=<dict>: expected off"),
        ({"events": "redis://a:port"}, ValueError, "events: "),
        ({"events": False, "stream": True}, ValueError, "stream=True: no events go"),
    ],
)
def test_what_is_not_accepted_is_refused_and_kept(options, error, said):
    with pytest.raises(error) as raised:
        HueyConfiguration(**options)

    assert said in str(raised.value)
    assert HueyConfiguration.refused == str(raised.value)
