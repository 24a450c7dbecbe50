"""A consumer's own pages: what its /metrics and /healthz say."""

import email.utils
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, Labels
from huey_otel._safety.redaction import said

_TIMEOUT: Final = 2.0
_LONGEST: Final = 8.0
"""Seconds that a page may take: a consumer asks its storage, and its collectors."""

_LARGEST: Final = 8_388_608
_CHUNK: Final = 65_536
_STUCK_AFTER: Final = 600
_OK: Final = 200

_ASKED: Final = (
    n.CONSUMER_INFO,
    n.STORAGE_UP,
    n.QUEUE_LENGTH,
    n.QUEUE_OLDEST_AGE,
    n.SCHEDULE_OVERDUE_AGE,
    n.RESULTS,
    n.TELEMETRY_DROPPED_TOTAL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What is served at *address*.

    *silent* says why nothing is, and *hangs* is true where a program listens and does
    not answer; *foreign* where what answers is not a consumer.
    *infos* are the labels of huey_consumer_info by queue, *values* those of the other
    metrics by name and labels. *unhealthy* is what /healthz says, empty if all is well.
    *ahead* is by how many seconds its clock is ahead of ours, None if it does not say.
    """

    address: str
    silent: str = ""
    hangs: bool = False
    foreign: bool = False
    infos: Mapping[str, Mapping[str, str]]
    values: Mapping[tuple[str, Labels], float]
    unhealthy: str = ""
    ahead: float | None = None

    def value(self, name: str, *labels: str) -> float | None:
        """The value of metric *name*, None if it is not shown."""
        return self.values.get((name, labels))

    def lost(self, queue: str, *reasons: str) -> int:
        """How much telemetry of *queue*, or of the process, was lost for *reasons*."""
        dropped = (
            value
            for (name, labels), value in self.values.items()
            if name == n.TELEMETRY_DROPPED_TOTAL
            and labels[0] in (queue, "")
            and labels[-1] in reasons
        )
        return int(sum(dropped))


def look_at(host: str, port: int) -> Pages:
    """Ask for all pages of *host* and *port*."""
    reached = host if host not in ("", "0.0.0.0", "::") else "localhost"  # noqa: S104 - what others listen on
    name = f"[{reached}]" if ":" in reached else reached
    nothing = Pages(address=f"{name}:{port}", infos={}, values={})
    try:
        metrics = _get(reached, port, f"/metrics?{_names()}")
        infos, values = _read(metrics.body)
        if not infos:
            return replace(nothing, foreign=True)
        health = _get(reached, port, f"/healthz?stuck={_STUCK_AFTER}")
    except _HangsError as error:
        return replace(nothing, silent=str(error), hangs=True)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return replace(nothing, silent=said(error))
    healthy = health.status == _OK
    return replace(
        nothing,
        infos=infos,
        values=values,
        unhealthy="" if healthy else health.body.strip(),
        ahead=metrics.ahead,
    )


class _HangsError(Exception):
    """A program listens there, and does not answer."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: str
    ahead: float | None


def _names() -> str:
    return urlencode([("name[]", name) for name in _ASKED])


def _get(host: str, port: int, path: str) -> _Answer:
    """The answer to GET *path*; raises OSError where there is none in time."""
    until = time.monotonic() + _LONGEST
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.connect()
        connection.sock.settimeout(_LONGEST)
        connection.request("GET", path, headers={"Accept": "text/plain"})
        response = connection.getresponse()
        now, body = time.time(), b""
        while chunk := response.read1(_CHUNK):
            body += chunk
            if len(body) > _LARGEST or time.monotonic() > until:
                raise OSError("the page is too large, or comes too slowly")
        date = response.headers.get("Date")
    except TimeoutError:
        if connection.sock is None:
            raise
        raise _HangsError(f"no answer in {_LONGEST:g} s") from None
    finally:
        connection.close()
    return _Answer(response.status, body.decode(errors="replace"), _ahead(date, now))


def _ahead(date: str | None, now: float) -> float | None:
    """By how many seconds *date*, without its fraction, is ahead of *now*."""
    try:
        told = email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    # The true time is in the second that begins with it.
    return 0.0 if told <= now <= told + 1 else told + 0.5 - now


def _read(
    page: str,
) -> tuple[dict[str, Mapping[str, str]], dict[tuple[str, Labels], float]]:
    """What the text *page* has of the metrics that were asked for; ValueError."""
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in page.splitlines() if line.startswith(_ASKED)]
    infos: dict[str, Mapping[str, str]] = {}
    values: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            if sample.name == n.CONSUMER_INFO:
                infos[sample.labels.get("queue", "")] = sample.labels
            elif sample.name in CATALOG:
                named = CATALOG[sample.name].labels
                labels = tuple(sample.labels.get(label, "") for label in named)
                values[sample.name, labels] = sample.value
    return infos, values
