"""The public door: its names, and what walking through it loads."""

import json
import subprocess
import sys

import pytest

import huey_otel

HEAVY = (
    *("django", "encodings.idna", "google", "grpc", "http", "huey", "opentelemetry"),
    *("opentelemetry.exporter", "opentelemetry.metrics", "opentelemetry.sdk"),
    *("prometheus_client", "redis", "requests"),
)

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "redis":
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
"""


def loaded(code):
    """The modules that are loaded in a new Python after *code*."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(json.loads(done.stdout))


def test_the_names():
    assert huey_otel.__all__ == [
        "EventListener",
        "Instrumentation",
        "RedisEventEmitter",
        "events",
        "instrument",
        "uninstrument",
    ]
    assert huey_otel.__all__ == sorted(huey_otel.__all__)


def test_nothing_else_is_shown():
    assert dir(huey_otel) == huey_otel.__all__


def test_each_name_is_what_its_module_has():
    named = {
        name: getattr(huey_otel, name).__module__
        for name in huey_otel.__all__
        if name != "events"
    }

    assert named == {
        "EventListener": "huey_otel._redis.listener",
        "Instrumentation": "huey_otel._setup.instrumentation",
        "RedisEventEmitter": "huey_otel._storage.emitter",
        "instrument": "huey_otel._setup.instrument",
        "uninstrument": "huey_otel._setup.instrument",
    }
    assert huey_otel.events.EVENT_FINISHED == "finished"


def test_a_name_that_it_does_not_have_is_an_error():
    with pytest.raises(AttributeError) as raised:
        _ = huey_otel.instruments

    assert str(raised.value) == "module 'huey_otel' has no attribute 'instruments'"


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import huey_otel", set()),
        (
            "from huey_otel import EventListener, RedisEventEmitter, events",
            set(),
        ),
        ("from huey_otel import instrument", {"huey", "opentelemetry"}),
        (
            "from huey import MemoryHuey; from huey_otel import instrument;"
            "instrument(MemoryHuey())",
            # What counts an enqueue, which a request may be waiting for, and finds
            # the address of a server, which no child may be forked during.
            {"encodings.idna", "http", "huey", "opentelemetry", "prometheus_client"},
        ),
        (
            "from huey import MemoryHuey; from huey_otel import instrument;"
            "instrument(MemoryHuey(), semconv_metrics=True)",
            {
                *("encodings.idna", "http", "huey", "opentelemetry"),
                *("opentelemetry.metrics", "prometheus_client"),
            },
        ),
    ],
    ids=["door", "reader", "imported", "used", "conventions"],
)
def test_it_loads_no_more_than_it_needs(code, needed):
    # redis-py 8 imports OpenTelemetry itself.
    modules = loaded(f"{BLOCKED}\n{code}")

    assert {name for name in HEAVY if name in modules} == needed


def test_without_redis_it_works_on_other_storages():
    modules = loaded(
        BLOCKED
        + """
from huey import MemoryHuey
from huey_otel import EventListener, RedisEventEmitter, instrument
huey = MemoryHuey()
done = []

@huey.task()
def send():
    done.append(1)

with instrument(huey) as instrumentation:
    send()
    huey.execute(huey.dequeue())
    assert instrumentation.flush()
assert done == [1]
"""
    )

    assert "redis" not in modules


def test_importing_starts_nothing():
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, threading; import huey.api, huey.consumer\n"
            "before = set(os.listdir('/proc/self/fd'))\n"
            "import huey_otel; from huey import MemoryHuey\n"
            "huey_otel.instrument(MemoryHuey())\n"
            "assert threading.active_count() == 1\n"
            "assert set(os.listdir('/proc/self/fd')) == before\n",
        ],
        check=True,
        timeout=30,
    )
