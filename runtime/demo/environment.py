"""The variables that make the processes of a demo send and serve what it shows."""

import os
import socket

from runtime.otlp_receiver import HTTP

PORT = "HUEY_OTEL_METRICS_PORT"
USUAL = 9464


def environ(endpoint: str) -> dict[str, str]:
    """Send spans to *endpoint*, soon, whatever the user's own variables say.

    The metrics are on the port where one looks for them, else on a free one.
    """
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces",
        "OTEL_EXPORTER_OTLP_PROTOCOL": HTTP,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        PORT: str(_free_port()),
    }


def _free_port() -> int:
    wanted = os.environ.get(PORT, "")
    port = int(wanted) if wanted.isdecimal() else USUAL
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return 0
    return port
