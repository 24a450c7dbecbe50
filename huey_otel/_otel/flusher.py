"""Flushes of providers that a caller can stop waiting for."""

import logging
import queue
import threading
from typing import Any, Final

from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded

_THREAD: Final = "huey-otel-flush"


class Flusher:
    """Runs `force_flush` on threads of its own; callers wait as long as they want.

    The SDK's `force_flush` ignores its own timeout (opentelemetry-sdk 1.45). Python
    3.12 and newer start no thread once the interpreter shuts down, so `prepare`
    starts one before that.
    """

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)
        logging.getLogger("opentelemetry.sdk.trace.export").addFilter(_is_news)

    def _renew(self) -> None:
        # `queue.SimpleQueue` by its module: gevent may replace it later.
        self._waiting: queue.SimpleQueue[tuple[object, threading.Event]]
        self._waiting = queue.SimpleQueue()
        self._prepared = False

    def prepare(self) -> None:
        """Start the thread that flushes while the interpreter shuts down."""
        if not self._prepared:
            self._prepared = True
            _start(self._serve)

    def flush(self, provider: object) -> threading.Event:
        """Begin to export what waits in *provider*; the event says when it is out."""
        done = threading.Event()
        if not hasattr(provider, "force_flush"):
            done.set()
            return done
        try:
            _start(_flush, provider, done)
        except RuntimeError:
            self._waiting.put((provider, done))
        return done

    def _serve(self) -> None:
        waiting = self._waiting
        while True:
            _flush(*waiting.get())


def _start(target: Any, *args: object) -> None:
    threading.Thread(target=target, args=args, name=_THREAD, daemon=True).start()


@guarded
def _flush(provider: Any, done: threading.Event) -> None:
    try:
        provider.force_flush()
    finally:
        done.set()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether to log *record*: not that the SDK was shut down before our flush.

    opentelemetry-sdk 1.30 logs that at each such end.
    """
    return record.threadName != _THREAD or "Already shutdown" not in str(record.msg)


FLUSHER: Final = Flusher()
