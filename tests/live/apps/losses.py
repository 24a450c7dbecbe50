"""Writes the losses of a consumer to the file in LIVE_DROPPED."""

import json
import os
from multiprocessing import util
from pathlib import Path

from huey_otel import Instrumentation


def report_at_exit(instrumentation: Instrumentation) -> None:
    """Write them at the end of this process, not of its children."""
    path = os.environ.get("LIVE_DROPPED")
    if path is not None:
        # Behind huey_otel's own finalizer; a fork forgets it.
        util.Finalize(None, _write, [Path(path), instrumentation], exitpriority=-200)


def _write(path: Path, instrumentation: Instrumentation) -> None:
    path.write_text(json.dumps(dict(instrumentation.dropped)))
