"""What a collector answers over gRPC, where OTLP's exporter looks at no answer."""

from collections.abc import Callable
from typing import Any

import grpc

from huey_otel._otel import answers
from huey_otel._otel.batches import LARGEST


def listened_to(exporter: Any) -> Any:
    """*exporter*, of which the calls note what the collector answers.

    Both names are private to the exporter (1.30 to 1.45), which makes a new client
    after a lost connection. Without them the answers are not known.
    """
    if hasattr(getattr(exporter, "_client", None), "Export"):
        exporter._client = _Client(exporter._client)  # noqa: SLF001
        new_client = getattr(exporter, "_stub", None)
        if new_client is not None:
            exporter._stub = lambda channel: _Client(new_client(channel))  # noqa: SLF001
    return exporter


class _Client:
    """The client of one channel."""

    def __init__(self, client: Any) -> None:
        self._export: Callable[..., Any] = client.Export

    def Export(self, request: Any, **more: Any) -> Any:  # noqa: N802 - gRPC's name
        """Send *request*, and note the answer."""
        try:
            response = self._export(request=request, **more)
        except grpc.RpcError as error:
            answers.refused(_details(error))
            too_large = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            if too_large and request.ByteSize() > LARGEST:
                raise _RefusedForGoodError(error) from error
            raise
        answers.taken(response)
        return response


class _RefusedForGoodError(grpc.RpcError):  # type: ignore[misc]
    """A single item was too large: the exporter would send it again for a minute."""

    def __init__(self, error: Any) -> None:
        super().__init__()
        self._details = _details(error)

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INVALID_ARGUMENT

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        return ()


def _details(error: Any) -> str:
    return str(error.details() or "")
