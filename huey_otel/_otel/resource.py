"""The resource of a provider that we build: found late, and true after a fork."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

from opentelemetry.sdk import resources
from opentelemetry.sdk.resources import (
    OTELResourceDetector,
    Resource,
    ResourceDetector,
)
from opentelemetry.sdk.version import __version__

from huey_otel import _names as n
from huey_otel._options.otel import Export
from huey_otel._options.standard import replaced
from huey_otel._otel.repair import sayable
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.log import warn
from huey_otel._safety.timeout import or_else

_GROUP: Final = "opentelemetry_resource_detector"
_OF_A_PROCESS: Final = frozenset((n.PROCESS_PID, n.SERVICE_INSTANCE_ID))


class _Here(NamedTuple):
    """What it is in the process *pid*."""

    pid: int
    resource: Resource
    hash: int


class ProcessResource(Resource):
    """What *find* returns, with `host.name` and the `process.pid` of this process.

    *find* is called when an attribute is first read, which an exporter does and
    no task: a detector may ask the network. What is *given* by the environment
    stays what it is, also where the SDK makes it new in each child
    (opentelemetry-sdk 1.45 does that with `service.instance.id`).

    All tracers hold this one object, also those that were made before a fork,
    so that their spans have the pid of the child.
    """

    def __init__(self, find: Callable[[], Resource], given: frozenset[str]) -> None:
        super().__init__({})
        self._find = find
        self._given = given
        self._found: Resource | None = None
        self._known: _Here | None = None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What is known of this process."""
        return self._here().resource.attributes

    @property
    def schema_url(self) -> str:
        """That of what was found."""
        return self._here().resource.schema_url

    def merge(self, other: Resource) -> Resource:
        """What this is with the attributes of *other*, found as late."""

        def found() -> Resource:
            attributes = dict(other.attributes)
            for name in _OF_A_PROCESS & self._given:
                attributes.pop(name, None)
            return self._now().merge(Resource(attributes, other.schema_url))

        return ProcessResource(found, self._given)

    def of(self, pid: int) -> Resource:
        """That of the process *pid*, which was forked from this one.

        Without a `service.instance.id`, unless it was given: only *pid* knows its own.
        """
        here = self._here()
        attributes = dict(here.resource.attributes)
        if pid != here.pid:
            if n.PROCESS_PID not in self._given:
                attributes[n.PROCESS_PID] = pid
            if n.SERVICE_INSTANCE_ID not in self._given:
                attributes.pop(n.SERVICE_INSTANCE_ID, None)
        return Resource(attributes, here.resource.schema_url)

    def _now(self) -> Resource:
        found = self._found
        if found is None:
            found = self._found = self._find()
        return found

    def _here(self) -> _Here:
        known, pid = self._known, os.getpid()
        if known is None or known.pid != pid:
            found = self._now()
            attributes = {n.HOST_NAME: socket.gethostname(), **found.attributes}
            if n.PROCESS_PID not in self._given:
                attributes[n.PROCESS_PID] = pid
            here = sayable(Resource(attributes, found.schema_url))
            known = self._known = _Here(pid, here, hash(here))
        return known

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ProcessResource):
            other = other._here().resource
        return self._here().resource == other

    def __hash__(self) -> int:
        return self._here().hash


def load(detectors: Sequence[str]) -> None:
    """Import what finds the attributes that the environment asks for."""
    for point in entry_points(group=_GROUP):
        if point.name in detectors or "*" in detectors:
            point.load()


def resource_of(export: Export, queue: str) -> ProcessResource:
    """What the environment says, as *export* has it; *queue* is the default service."""

    def find() -> Resource:
        with replaced(export.instead):
            found = _found(export.detectors)
        return found.merge(Resource(export.resource(queue)))

    return ProcessResource(find, export.attributes)


def _found(names: Sequence[str]) -> Resource:
    """What `Resource.create` finds, without the threads that it asks on.

    While a script ends that has enqueued once, no thread can be started.
    """
    found = Resource(
        {
            resources.TELEMETRY_SDK_LANGUAGE: "python",
            resources.TELEMETRY_SDK_NAME: "opentelemetry",
            resources.TELEMETRY_SDK_VERSION: __version__,
        }
    )
    for detector in _detectors(names):
        found = found.merge(or_else(detector.detect, _nothing))
    return found


def _detectors(names: Sequence[str]) -> list[ResourceDetector]:
    # From some version on the SDK adds its own to those that are asked for.
    build = getattr(resources, "_build_resource_detectors", None)
    if build is not None:
        known: list[ResourceDetector] = build()
        return known
    points = [
        point
        for name in names
        for point in entry_points(group=_GROUP)
        if name in ("*", point.name) and point.name != "otel"
    ]
    return [*(point.load()() for point in points), OTELResourceDetector()]


def _nothing(error: Exception) -> Resource:
    warn("a resource detector failed: %s: %s", class_name(error), message(error))
    return Resource.get_empty()
