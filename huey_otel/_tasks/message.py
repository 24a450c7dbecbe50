"""Outgoing: what is on its way to queue or schedule, and the span that is current."""

import time
from dataclasses import dataclass, field

from huey.api import Task
from opentelemetry.context import Context
from opentelemetry.trace import Span

from huey_otel._tasks.attempt import Attempt
from huey_otel._wire.carrier import Carrier
from huey_otel._wire.record import TaskFacts


@dataclass(slots=True, kw_only=True)
class Current:
    """A span of an enqueue that is current, and what was so `before`.

    `span` is None for what is no new enqueue; `error` what made it fail.
    """

    span: Span | None = None
    before: Context | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class Outgoing(Current):
    """A message on its way to queue or schedule. `late` in seconds, if it was ripe."""

    task: Task
    facts: TaskFacts
    carrier: Carrier
    origin: str
    ripe: Attempt | None = None
    late: float | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Chord:
    """A chord of which a member is done, and the spans of those whose results are read.

    As traceparents, in the order of the members. `done` is the carrier that
    goes behind the result of this one, as bytes.
    """

    size: int
    done: bytes | None
    members: list[str] = field(default_factory=list)
