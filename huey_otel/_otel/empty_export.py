"""An empty export: asks a collector whether it would take spans, and sends it none."""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry.trace import TracerProvider

from huey_otel._safety.failures import class_name
from huey_otel._safety.redaction import masked

_PATIENCE: Final = 5.0
"""Seconds for each collector; OTLP's exporters try again for longer."""

_GLANCE: Final = 0.05
_SDK: Final = "opentelemetry.sdk.trace"
_OTLP: Final = "opentelemetry.exporter.otlp."


def refusals(provider: TracerProvider) -> dict[str, str]:
    """Why collectors take nothing from *provider*, by their addresses.

    Asks those that an exporter of OTLP leads to. Logs nothing.
    """
    # Without the SDK there are no exporters that we know.
    if _SDK not in sys.modules:
        return {}
    return {
        where: why
        for where, exporter in _exporters(provider)
        for why in [_refusal(exporter, provider)]
        if why
    }


def _exporters(provider: Any) -> Iterator[tuple[str, Any]]:
    """The exporters of OTLP, as the processors of *provider* have them."""
    multi = getattr(provider, "_active_span_processor", None)
    for processor in getattr(multi, "_span_processors", ()):
        exporter: Any = getattr(processor, "span_exporter", None)
        # Ours makes the one that sends when it is asked to.
        inner: Any = exporter.start() if hasattr(exporter, "tried") else exporter
        inner = getattr(inner, "exporter", inner)
        if type(inner).__module__.startswith(_OTLP):
            endpoint = getattr(inner, "_endpoint", None) or class_name(inner)
            yield masked(str(endpoint)), exporter


def _refusal(exporter: Any, provider: Any) -> str:
    """Why nothing is taken from *exporter*, empty if it is."""
    from huey_otel._otel.answers import ANSWERS, SILENCE
    from huey_otel._otel.exporter import CountingExporter

    counting: CountingExporter = exporter
    if not isinstance(exporter, CountingExporter):
        counting = CountingExporter(lambda: exporter, provider.resource)
    heard: list[str] = []

    context = contexts.get_current()

    def export() -> None:
        # What the caller suppresses is not to be traced here either.
        contexts.attach(context)
        exported, answer = counting.tried(())
        heard.append("" if exported else answer.reason or "no reason given")

    ANSWERS.last = SILENCE
    thread = threading.Thread(target=export, name="huey-otel-check", daemon=True)
    thread.start()
    until = time.monotonic() + _PATIENCE
    while thread.is_alive():
        if ANSWERS.last != SILENCE:
            # It tries again, and this says why.
            return ANSWERS.last
        if time.monotonic() > until:
            return f"no answer in {_PATIENCE:g} s"
        thread.join(_GLANCE)
    return heard[0]
