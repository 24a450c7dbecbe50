"""The pages of the endpoint, and the handler that answers one request."""

import gzip
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from huey_otel._prometheus.unclaimed import restricted
from huey_otel._safety.forks import COLLECTING
from huey_otel._safety.guard import guarded

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PATIENCE: Final = 5.0
"""Seconds that a scrape waits for another one that does not end."""

_TEXT: Final = "text/plain; charset=utf-8"

_REFUSED: Final = re.compile(r";\s*q=0(\.0*)?\s*$", re.IGNORECASE)
"""What ends a coding that is not taken; prometheus_client 0.26 does not look at it."""


class Page(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Pages:
    """What there is to be read. *prepare* comes before each scrape."""

    def __init__(
        self,
        registry: "CollectorRegistry",
        health: Callable[[], str | None],
        prepare: Callable[[], object],
    ) -> None:
        self._registry = registry
        self._health = health
        self._prepare = prepare

    def get(self, target: str, accept: str) -> Page:
        """The page at *target*, a path and perhaps a query."""
        try:
            parts = urlsplit(target)
        except ValueError as error:
            return _text(HTTPStatus.BAD_REQUEST, f"no address: {error}")
        match parts.path:
            case "/metrics":
                names = parse_qs(parts.query).get("name[]", [])
                return self._metrics(accept, names) or _text(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    "a collector of the registry raised, the log says more",
                )
            case "/healthz":
                return self._healthz()
            case _:
                return _text(
                    HTTPStatus.NOT_FOUND, "nothing here, try /metrics or /healthz"
                )

    def _healthz(self) -> Page:
        reason = self._health()
        if reason is None:
            return _text(HTTPStatus.OK, "ok")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    @guarded
    def _metrics(self, accept: str, names: list[str]) -> Page | None:
        from huey_otel._prometheus.encoding import Encoding

        self._prepare()
        # Others' collectors may take locks; a fork waits until they are released.
        if not COLLECTING.take(_PATIENCE):
            return _text(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "another scrape does not end, a collector of the registry blocks",
            )
        try:
            if names:
                collected = restricted(self._registry, names)
            else:
                collected = list(self._registry.collect())
        finally:
            COLLECTING.release()
        encode, content_type = _encoder(accept)
        encoding = Encoding(encode, openmetrics="openmetrics" in content_type)
        return Page(HTTPStatus.OK, content_type, encoding.of(collected))


class Handler(BaseHTTPRequestHandler):
    """Answers one request of *client* and closes."""

    server_version = "huey-otel"
    sys_version = ""

    def __init__(self, client: socket.socket, address: Any, pages: Pages) -> None:
        self._pages = pages
        # It asks nothing of a server.
        super().__init__(client, address, None)  # type: ignore[arg-type]  # see above

    def do_GET(self) -> None:
        """Answer with the page."""
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        """Answer as GET would, without the page."""
        self._head()

    def _head(self) -> bytes:
        page = self._pages.get(self.path, self.headers.get("Accept") or "")
        body = page.body
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        if self._takes_gzip():
            # A third of the time of level 6, and a fifth more bytes.
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def _takes_gzip(self) -> bool:
        from prometheus_client.exposition import gzip_accepted

        codings = (self.headers.get("Accept-Encoding") or "").split(",")
        taken = [coding for coding in codings if not _REFUSED.search(coding)]
        return gzip_accepted(",".join(taken))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as there
        """Log nothing: a scrape is no news."""


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    from prometheus_client.exposition import choose_encoder

    try:
        return choose_encoder(accept)
    except TypeError:
        # It compares versions as they come, and that of a client may be no number.
        return choose_encoder("")


def _text(status: HTTPStatus, message: str) -> Page:
    return Page(status, _TEXT, f"{message}\n".encode())
