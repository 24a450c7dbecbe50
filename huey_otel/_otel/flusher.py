"""Flushes of providers that take no longer than they may."""

import logging
import queue
import threading
from typing import Any, Final

from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded

_THREAD: Final = "huey-otel-flush"


def _is_heard(record: logging.LogRecord) -> bool:
    """Not that there is nothing to flush, where the SDK has shut down before us.

    Up to some version (opentelemetry-sdk 1.30 does) it logs that at each such end.
    """
    return record.threadName != _THREAD or "Already shutdown" not in str(record.msg)


class Flusher:
    """Runs `force_flush` on threads that may be left behind.

    The SDK's ignores its own timeout (opentelemetry-sdk 1.45). Python 3.12 and
    newer start no thread once the interpreter goes down, so one that `prepare`
    has started waits for that.
    """

    def __init__(self) -> None:
        self._begin()
        in_child(self._begin)
        logging.getLogger("opentelemetry.sdk.trace.export").addFilter(_is_heard)

    def _begin(self) -> None:
        # By its module: gevent may replace it before this process flushes anything.
        self._asked: queue.SimpleQueue[tuple[object, threading.Event]]
        self._asked = queue.SimpleQueue()
        self._prepared: threading.Thread | None = None

    def prepare(self) -> None:
        """Be ready to flush while the interpreter goes down."""
        if self._prepared is None:
            self._prepared = threading.Thread(
                target=self._serve, name=_THREAD, daemon=True
            )
            self._prepared.start()

    def flush(self, provider: object) -> threading.Event:
        """Begin to export what waits in *provider*; the event says when it is out."""
        done = threading.Event()
        if not hasattr(provider, "force_flush"):
            done.set()
            return done
        try:
            threading.Thread(
                target=_flush, args=(provider, done), name=_THREAD, daemon=True
            ).start()
        except RuntimeError:
            self._asked.put((provider, done))
        return done

    def _serve(self) -> None:
        asked = self._asked
        while True:
            _flush(*asked.get())


@guarded
def _flush(provider: Any, done: threading.Event) -> None:
    try:
        provider.force_flush()
    finally:
        done.set()


FLUSHER: Final = Flusher()
