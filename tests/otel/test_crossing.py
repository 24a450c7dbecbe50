"""A span that crosses the pipe says all that it ended with."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from huey_otel._otel import crossing
from huey_otel._otel.attributes import conclude
from huey_otel._otel.light import LightSpan, is_untouched
from huey_otel._otel.provider import ResolvedProvider
from huey_otel._otel.spans import close


def test_a_span_that_is_touched_while_it_is_read_out_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def touched_right_after(span: Any) -> bool:
        # As another thread may.
        untouched = is_untouched(span)
        assert span.attributes is not None
        return untouched

    monkeypatch.setattr(crossing, "is_untouched", touched_right_after)
    provider = TracerProvider(shutdown_on_exit=False)
    span: Any
    span, _ = ResolvedProvider(provider, "to a test").spans.start(
        lambda: ("process add", {}), (), SpanKind.CONSUMER, None, None
    )
    assert type(span) is LightSpan
    close(span, 7, conclude, "success", None, 5)

    assert crossing.end_of(span) == (7, ("success", 5), None)
