"""An exporter of another vendor, which sends what the SDK's encoder makes."""

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

TOKEN = "first"


class VendorsExporter:
    """Reads a token that the module renews."""

    def export(self, spans: Any) -> tuple[str, int]:
        return TOKEN, len(encode_spans(spans).resource_spans)
