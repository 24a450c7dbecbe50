"""An OTLP collector as a process of its own, to be killed: `port file`."""

import sys
import threading
from pathlib import Path

from runtime import otlp_receiver as otlp

with (
    Path(sys.argv[2]).open("a") as written,
    otlp.receiver(otlp.HTTP, port=int(sys.argv[1])) as receiver,
):
    # Each request has its own thread, and text files are not thread-safe.
    writing = threading.Lock()

    def write(request):
        lines = [
            f"{span.kind} {span.span_id.hex()}\n"
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with writing:
            written.writelines(lines)
            written.flush()
        receiver.clear()

    receiver.forward = write
    threading.Event().wait()
