"""Flushes of providers, also while the interpreter shuts down."""

import logging
import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from huey_otel._otel.flusher import Flusher


def test_a_prepared_flusher_flushes_without_a_new_thread(monkeypatch):
    provider = TracerProvider(shutdown_on_exit=False)
    calls: list[object] = []
    monkeypatch.setattr(provider, "force_flush", lambda: calls.append(provider))
    flusher = Flusher()
    flusher.prepare()

    def refuse(_thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = flusher.flush(provider)

    assert done.wait(5)
    assert calls == [provider]


def test_the_sdks_line_about_a_flush_after_its_shutdown_is_not_logged(caplog):
    class ShutDown:
        def force_flush(self) -> None:
            # As opentelemetry-sdk 1.30 does.
            sdk.warning("Already shutdown, ignoring call to force_flush().")
            sdk.warning("something else")

    sdk = logging.getLogger("opentelemetry.sdk.trace.export")

    assert Flusher().flush(ShutDown()).wait(5)
    sdk.warning("Already shutdown, dropping span.")

    assert caplog.messages == ["something else", "Already shutdown, dropping span."]


def test_a_provider_without_flush_has_nothing_to_wait_for():
    assert Flusher().flush(NoOpTracerProvider()).is_set()
