"""The pages: what `/metrics` and `/healthz` answer."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from huey_otel._prometheus.claims import restricted
from huey_otel._prometheus.exposition import expose
from huey_otel._safety.forks import COLLECTING
from huey_otel._safety.guard import guarded

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LONGEST_WAIT: Final = 5.0
"""Seconds that a scrape waits for another one that does not end."""

_TEXT: Final = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """One answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Pages:
    """Answers by path.

    *health* returns None while all is well, else the reason why not. *prepare* is
    called before each scrape, for what must not be done during one.
    """

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
                reason = self._health()
                if reason is None:
                    return _text(HTTPStatus.OK, "ok")
                return _text(HTTPStatus.SERVICE_UNAVAILABLE, reason)
            case _:
                return _text(
                    HTTPStatus.NOT_FOUND, "nothing here, try /metrics or /healthz"
                )

    @guarded
    def _metrics(self, accept: str, names: list[str]) -> Page | None:
        self._prepare()
        # Collectors of the application may take locks: no fork meanwhile.
        if not COLLECTING.take(_LONGEST_WAIT):
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
        return Page(HTTPStatus.OK, *expose(collected, accept))


def _text(status: HTTPStatus, message: str) -> Page:
    return Page(status, _TEXT, f"{message}\n".encode())
