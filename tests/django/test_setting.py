"""HUEY_OTEL becomes arguments of `instrument`, or says what it may be."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from huey_otel._options.table import OPTIONS
from huey_otel.django.apps import arguments_of

QUEUES = (None, "emails", "reports")


def test_without_the_setting_no_queue_has_arguments():
    assert arguments_of({}, QUEUES) == {None: {}, "emails": {}, "reports": {}}


def test_the_settings_keys_are_arguments_for_all_queues():
    given = {"metrics_port": None, "propagation": "link"}

    assert arguments_of(given, QUEUES) == dict.fromkeys(QUEUES, given)


def test_a_queues_own_arguments_come_first():
    given = {
        "metrics_port": 9464,
        "span_naming": "queue",
        "queues": {"emails": {"metrics_port": 9465, "channel": "letters"}},
    }

    common = {"metrics_port": 9464, "span_naming": "queue"}
    emails = {"metrics_port": 9465, "span_naming": "queue", "channel": "letters"}
    assert arguments_of(given, QUEUES) == {
        None: common,
        "emails": emails,
        "reports": common,
    }


def test_reading_does_not_change_the_setting():
    given = {"queues": {"emails": {}}}

    arguments_of(given, QUEUES)

    assert given == {"queues": {"emails": {}}}


ARGUMENTS = ", ".join(OPTIONS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"PORT": 1},
            "HUEY_OTEL has 'PORT' (did you mean metrics_port?);"
            f" accepted are {ARGUMENTS}, queues",
        ),
        ({"huey": 1}, f"HUEY_OTEL has 'huey'; accepted are {ARGUMENTS}, queues"),
        ({1: 2}, f"HUEY_OTEL has 1; accepted are {ARGUMENTS}, queues"),
        (
            {"queues": {"email": {}}},
            "HUEY_OTEL['queues'] has 'email' (did you mean emails?);"
            " accepted are emails, reports",
        ),
        (
            {"queues": {"emails": {"queues": {}}}},
            f"HUEY_OTEL['queues']['emails'] has 'queues'; accepted are {ARGUMENTS}",
        ),
        (None, "HUEY_OTEL=None: expected a dict"),
        ("redis://:secret@host", "HUEY_OTEL='redis://host': expected a dict"),
        ({"queues": ["emails"]}, "HUEY_OTEL['queues']=<list>: expected a dict"),
        (
            {"queues": {"emails": 9465}},
            "HUEY_OTEL['queues']['emails']=9465: expected a dict",
        ),
    ],
)
def test_a_wrong_setting_raises_and_names_what_is_accepted(given, message):
    with pytest.raises(ImproperlyConfigured, match=f"^{re.escape(message)}$"):
        arguments_of(given, QUEUES)


def test_without_django_huey_there_are_no_queues_to_name():
    message = (
        "HUEY_OTEL['queues'] has 'emails'; accepted are the queues of DJANGO_HUEY,"
        " and there are none"
    )

    with pytest.raises(ImproperlyConfigured, match=f"^{re.escape(message)}$"):
        arguments_of({"queues": {"emails": {}}}, [None])
