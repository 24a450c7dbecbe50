"""The resource of a provider that we build: found late, and right after a fork."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
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
from huey_otel._options.export import Export
from huey_otel._options.otel_variables import replaced
from huey_otel._otel.repair import encodable_resource
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.log import warn
from huey_otel._safety.timeout import or_else

_DETECTORS: Final = "opentelemetry_resource_detector"
_OF_A_PROCESS: Final = frozenset((n.PROCESS_PID, n.SERVICE_INSTANCE_ID))


class _Here(NamedTuple):
    """The resource of the process *pid*, and its hash, which takes a while."""

    pid: int
    resource: Resource
    hash: int


class ProcessResource(Resource):
    """What *find* returns, with `host.name` and the `process.pid` of this process.

    An exporter that reads an attribute calls *find*, no task does: a detector may
    ask the network. Attributes that the environment has *given* stay as they are,
    even if the SDK renews them in each child, as opentelemetry-sdk 1.45 does with
    `service.instance.id`.

    All tracers hold this one object, also those made before a fork, so their spans
    have the pid of the child.
    """

    def __init__(self, find: Callable[[], Resource], given: frozenset[str]) -> None:
        super().__init__({})
        self._find = cache(find)
        self._given = given
        self._known: _Here | None = None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes in this process."""
        return self._here().resource.attributes

    @property
    def schema_url(self) -> str:
        """The schema of what was found."""
        return self._here().resource.schema_url

    def merge(self, other: Resource) -> Resource:
        """Add the attributes of *other*, still finding the rest late."""

        def find() -> Resource:
            attributes = dict(other.attributes)
            for name in _OF_A_PROCESS & self._given:
                attributes.pop(name, None)
            return self._find().merge(Resource(attributes, other.schema_url))

        return ProcessResource(find, self._given)

    def of(self, pid: int) -> Resource:
        """The resource of the process *pid*, which was forked from this one.

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

    def _here(self) -> _Here:
        known, pid = self._known, os.getpid()
        if known is None or known.pid != pid:
            found = self._find()
            attributes = {n.HOST_NAME: socket.gethostname(), **found.attributes}
            if n.PROCESS_PID not in self._given:
                attributes[n.PROCESS_PID] = pid
            here = encodable_resource(Resource(attributes, found.schema_url))
            known = self._known = _Here(pid, here, hash(here))
        return known

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ProcessResource):
            other = other._here().resource
        return self._here().resource == other

    def __hash__(self) -> int:
        return self._here().hash


def load(detectors: Sequence[str]) -> None:
    """Import the *detectors* that the environment names."""
    for point in entry_points(group=_DETECTORS):
        if point.name in detectors or "*" in detectors:
            point.load()


def resource_of(export: Export, queue: str) -> ProcessResource:
    """The resource that *export* asks for; *queue* is the service by default."""

    def find() -> Resource:
        with replaced(export.instead):
            found = _found(export.detectors)
        return found.merge(Resource(export.resource(queue)))

    return ProcessResource(find, export.attributes)


def _found(detectors: Sequence[str]) -> Resource:
    """What `Resource.create` finds, but without its threads.

    A script that ends right after its first enqueue can start no thread any more.
    """
    found = Resource(
        {
            resources.TELEMETRY_SDK_LANGUAGE: "python",
            resources.TELEMETRY_SDK_NAME: "opentelemetry",
            resources.TELEMETRY_SDK_VERSION: __version__,
        }
    )
    for detector in _detectors(detectors):
        found = found.merge(or_else(detector.detect, _failed))
    return found


def _detectors(names: Sequence[str]) -> list[ResourceDetector]:
    # Newer SDKs add their own to those that are asked for.
    build = getattr(resources, "_build_resource_detectors", None)
    if build is not None:
        known: list[ResourceDetector] = build()
        return known
    points = [
        point
        for name in names
        for point in entry_points(group=_DETECTORS)
        if name in ("*", point.name) and point.name != "otel"
    ]
    return [*(point.load()() for point in points), OTELResourceDetector()]


def _failed(error: Exception) -> Resource:
    warn("a resource detector failed: %s: %s", class_name(error), message(error))
    return Resource.get_empty()
