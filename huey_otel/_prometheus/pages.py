"""The pages: what `/metrics` and `/healthz` answer."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from huey_otel._options.values import SECONDS
from huey_otel._prometheus.claims import restricted
from huey_otel._prometheus.consumers import Limits
from huey_otel._prometheus.exposition import expose
from huey_otel._safety.forks import COLLECTING
from huey_otel._safety.guard import guarded
from huey_otel._safety.redaction import shown

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

    *health* returns None while all is well, else the reason why not; it takes the
    Limits past which a consumer that lives is not well. *prepare* is called before each
    scrape, for what must not be done during one.
    """

    def __init__(
        self,
        registry: "CollectorRegistry",
        health: Callable[..., str | None],
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
            return text_page(HTTPStatus.BAD_REQUEST, f"no address: {error}")
        match parts.path:
            case "/metrics":
                names = parse_qs(parts.query).get("name[]", [])
                return self._metrics(accept, names) or text_page(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    "a collector of the registry raised, the log says more",
                )
            case "/healthz":
                return self._healthz(parts.query)
            case _:
                return text_page(
                    HTTPStatus.NOT_FOUND, "nothing here, try /metrics or /healthz"
                )

    def _healthz(self, query: str) -> Page:
        try:
            reason = self._health(*_limits(query))
        except ValueError as error:
            return text_page(HTTPStatus.BAD_REQUEST, str(error))
        if reason is None:
            return text_page(HTTPStatus.OK, "ok")
        return text_page(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    @guarded
    def _metrics(self, accept: str, names: list[str]) -> Page | None:
        self._prepare()
        # Collectors of the application may take locks: no fork meanwhile.
        if not COLLECTING.take(_LONGEST_WAIT):
            return text_page(
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


def text_page(status: HTTPStatus, message: str) -> Page:
    """A page that says *message*."""
    return Page(status, _TEXT, f"{message}\n".encode())


def _limits(query: str) -> tuple[Limits, ...]:
    """The Limits that `stuck=` and `busy=` say, if any; ValueError for a wrong one."""
    given = parse_qs(query, keep_blank_values=True)
    # Of one that is given twice neither is meant.
    said = {
        name: SECONDS.meant(text, f"{name}={shown(text)}")
        for name in ("stuck", "busy")
        for text in [",".join(given.get(name, ()))]
        if name in given
    }
    if "stuck" in said:
        return (Limits(said["stuck"], said.get("busy")),)
    if said:
        raise ValueError("busy= counts beside stuck= only")
    return ()
