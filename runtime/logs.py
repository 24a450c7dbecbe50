"""The log of a process of ours: one line each, in UTC, that says which worker."""

import logging
import time


def configure(
    *, level: int, worker: str, file: str | None = None, simple: bool = False
) -> None:
    """Log to *file*, or to standard error, from *level* on.

    *worker* is the attribute of a log record that names the worker. A *simple*
    line has its time and its text.
    """
    handler = logging.FileHandler(file) if file else logging.StreamHandler()
    formatter = logging.Formatter(
        "%(asctime)s %(message)s"
        if simple
        else f"%(asctime)s %(levelname)s %({worker})s %(name)s: %(message)s"
    )
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    # Debugging a queue is not debugging every library.
    root.setLevel(max(level, logging.INFO))
    for name in ("huey", "huey_otel"):
        logging.getLogger(name).setLevel(level)
