"""Enqueues tasks of `traced` as a web process would."""

import sys

from tests.live.apps.traced import (
    after,
    count,
    flood,
    hang,
    huey,
    instrumentation,
    outlast,
    stumble,
    tracer,
    work,
)

match sys.argv[1:]:
    case ["count", number]:
        for _ in range(int(number)):
            count()
    case ["flood", number]:
        flood(int(number))
    case ["request"]:
        # The provider is there from the first enqueue on.
        instrumentation._outputs.tracer.resolved()
        with tracer.start_as_current_span("request"):
            huey.enqueue(work.s().then(after))
    case ["outlast"]:
        outlast()
    case ["hang"]:
        hang()
    case ["stumble"]:
        stumble()
