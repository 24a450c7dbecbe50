"""What the hooks of one instrumented huey call, by what a call is about."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from huey.consumer import Consumer

from huey_otel._process.outputs import Outputs
from huey_otel._tasks.consumer import ConsumerLife
from huey_otel._tasks.dequeue import Dequeue
from huey_otel._tasks.enqueue import Enqueue
from huey_otel._tasks.errors import Errors
from huey_otel._tasks.execute import Execution
from huey_otel._tasks.workers import Workers


@dataclass(slots=True, kw_only=True)
class Observation:
    """Huey's and its consumers' `_huey_otel`: the parts, and what has been swapped.

    `alone` until a consumer of the huey is known, or was looked for; `enveloped`
    where messages may come in an envelope, as their serializer is not pickle's.
    """

    enqueue: Enqueue
    dequeue: Dequeue
    errors: Errors
    execution: Execution
    workers: Workers
    consumer: ConsumerLife
    outputs: Outputs
    alone: bool = True
    consumers: WeakSet[Consumer] = field(default_factory=WeakSet)
    enveloped: bool = False
    serializer: Any = None
