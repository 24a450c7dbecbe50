"""Messages that go out, with the span that is current meanwhile."""

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
    """The span of an enqueue, which is current, and the context `before` it.

    `span` is None where nothing new is enqueued; `error` is why the enqueue failed.
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
    """A chord of which a member is done.

    `members` are the traceparents of the members whose results were read, in order.
    `done` is the carrier, in bytes, that goes behind the result of this member.
    """

    size: int
    done: bytes | None
    members: list[str] = field(default_factory=list)
