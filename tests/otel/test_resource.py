"""The resource of a provider that we build: found late, and that of each process."""

import os
import socket
from typing import Any

import pytest
from opentelemetry.sdk import resources
from opentelemetry.sdk.resources import Resource, ResourceDetector
from opentelemetry.sdk.trace import TracerProvider

from huey_otel._options.export import read_export
from huey_otel._otel import resource as _resource
from huey_otel._otel.resource import ProcessResource, resource_of
from tests.support.forks import fork

PLACE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318"}
HERE = {"host.name": socket.gethostname(), "process.pid": os.getpid()}


def made(found: dict[str, Any], *given: str) -> ProcessResource:
    return ProcessResource(lambda: Resource(found), frozenset(given))


def resource_by(env: dict[str, str], monkeypatch) -> ProcessResource:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return resource_of(read_export({**PLACE, **env}), "my-app")


def exit_unless(condition: bool) -> None:  # noqa: FBT001 - what a child has found
    if not condition:
        os._exit(9)


def test_it_names_the_host_and_the_process():
    assert dict(made({"a": "b"}).attributes) == {"a": "b", **HERE}


def test_what_is_given_stays():
    found = {"host.name": "shop-1", "process.pid": "7"}

    assert dict(made(found, "host.name", "process.pid").attributes) == found


def test_nothing_is_found_before_an_attribute_is_read():
    asked: list[str] = []

    def find() -> Resource:
        asked.append("asked")
        return Resource({})

    resource = ProcessResource(find, frozenset())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.get_tracer("mine").start_span("one").end()
    before = list(asked)
    for _ in range(2):
        assert resource.attributes["process.pid"] == os.getpid()

    assert (before, asked) == ([], ["asked"])


def test_a_child_has_its_own_pid_also_by_a_tracer_of_its_parent():
    provider = TracerProvider(
        resource=made({"service.name": "web"}), shutdown_on_exit=False
    )
    tracer = provider.get_tracer("mine")
    assert provider.resource.attributes["process.pid"] == os.getpid()

    def pid_of_span() -> Any:
        span: Any = tracer.start_span("one")
        return span.resource.attributes["process.pid"]

    def grandchild() -> None:
        exit_unless(pid_of_span() == os.getpid())
        code = fork(lambda: exit_unless(pid_of_span() == os.getpid())).join()
        exit_unless(code == 0)

    assert fork(grandchild).join() == 0
    assert pid_of_span() == os.getpid()


@pytest.mark.parametrize("given", [False, True])
def test_what_the_sdk_finds_again_in_a_child_leaves_what_is_given(given):
    names = ("service.instance.id", "process.pid") if given else ()
    resource = made({"service.instance.id": "a", "process.pid": 7}, *names)

    child = resource.merge(Resource({"service.instance.id": "b", "process.pid": 8}))

    assert child.attributes["service.instance.id"] == ("a" if given else "b")
    assert child.attributes["process.pid"] == (7 if given else os.getpid())


def test_another_process_has_its_pid_and_no_instance_that_is_not_its_own():
    found = {"service.name": "web", "service.instance.id": "a"}

    assert dict(made(found).of(7).attributes) == {
        "service.name": "web",
        "host.name": socket.gethostname(),
        "process.pid": 7,
    }
    assert dict(made(found).of(os.getpid()).attributes) == {**found, **HERE}
    given = made({**found, "process.pid": "1"}, "service.instance.id", "process.pid")
    assert dict(given.of(7).attributes) == {
        **found,
        "host.name": socket.gethostname(),
        "process.pid": "1",
    }


def test_two_are_equal_if_they_say_the_same():
    one, same, other = made({"a": "b"}), made({"a": "b"}), made({"a": "c"})

    assert (one == same, one == other, one == Resource({"a": "b", **HERE})) == (
        True,
        False,
        True,
    )
    assert hash(one) == hash(same)


def test_it_says_what_the_sdks_own_does(monkeypatch):
    env = {"OTEL_RESOURCE_ATTRIBUTES": "team=x,service.name=shop"}
    resource = resource_by(env, monkeypatch)

    assert dict(resource.attributes) == {**Resource.create({}).attributes, **HERE}


def test_detectors_are_asked(monkeypatch):
    env = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}
    attributes = resource_by(env, monkeypatch).attributes

    assert attributes["process.runtime.name"] == "cpython"
    assert attributes["service.name"] == "my-app"
    assert attributes["telemetry.sdk.name"] == "opentelemetry"


def test_a_detector_that_fails_costs_its_own_attributes(monkeypatch, caplog):
    class Failing(ResourceDetector):
        def detect(self) -> Resource:
            raise OSError("no route")

    detectors = [Failing(), resources.OTELResourceDetector()]
    monkeypatch.setattr(_resource, "_detectors", lambda _names: detectors)
    attributes = resource_by({"OTEL_SERVICE_NAME": "web"}, monkeypatch).attributes

    assert attributes["service.name"] == "web"
    assert caplog.messages == ["a resource detector failed: OSError: no route"]
