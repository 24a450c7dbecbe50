"""The public door: its names, and what walking through it loads."""

import json
import subprocess
import sys

import huey.consumer
import pytest

import huey_otel
from huey_otel import events

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


def test_nothing_else_is_public():
    public = {name for name in vars(huey_otel) if not name.startswith("_")}

    # Submodules are attributes of their package once something imports them.
    assert public - {"django", "mapping", "sampling", "testing"} == set(
        huey_otel.__all__
    )


def test_the_event_constants_are_on_hueys_consumer():
    assert {
        name: getattr(huey.consumer, name) for name in events.CONSTANTS
    } == events.CONSTANTS


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import huey_otel", set()),
        (
            "from huey import MemoryHuey; from huey_otel import instrument;"
            "instrument(MemoryHuey())",
            # What counts an enqueue, which a request may be waiting for.
            {"prometheus_client", "http"},
        ),
    ],
    ids=["imported", "used"],
)
def test_it_loads_no_more_than_it_needs(code, needed):
    before = loaded("import huey.api, huey.consumer")

    added = loaded(code) - before

    assert {
        name.partition(".")[0]
        for name in added
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
        or name.partition(".")[0]
        in (
            *("redis", "grpc", "requests", "google", "http", "django"),
            "prometheus_client",
        )
    } == needed


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
