"""The answers: what is served at /metrics, /queues and /healthz."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, EXPORTER, Labels
from huey_otel._prometheus.exposition import NumberFamily, format_of
from huey_otel._prometheus.pages import Page, text_page
from huey_otel._safety.redaction import shown
from huey_otel.cli.exporter.look import BusyError, Look, Seen
from huey_otel.cli.exporter.merged import KnownSeries, MergedPage
from huey_otel.cli.exporter.stored import LIVE, Stored

_QUEUE: Final = "queue"
_RUNNING: Final = "running"
_JSON: Final = "application/json"

_OF_BACKLOG: Final = {
    n.QUEUE_LENGTH: "waiting",
    n.QUEUE_OLDEST_AGE: "oldest",
    n.SCHEDULE_LENGTH: "scheduled",
    n.SCHEDULE_OVERDUE_AGE: "overdue",
    n.RESULTS: "results",
}


class Answers:
    """Answers by path; each asks Redis again."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known = KnownSeries()

    def get(self, target: str, accept: str, /) -> Page:
        """The page at *target*, a path and perhaps a query."""
        try:
            parts = urlsplit(target)
        except ValueError as error:
            return text_page(HTTPStatus.BAD_REQUEST, f"no address: {error}")
        query = parse_qs(parts.query, keep_blank_values=True)
        try:
            match parts.path:
                case "/metrics":
                    return self._metrics(query, accept)
                case "/queues":
                    return self._queues(query)
                case "/healthz":
                    return self._healthz()
                case _:
                    return text_page(
                        HTTPStatus.NOT_FOUND,
                        "nothing here, try /metrics, /queues or /healthz",
                    )
        except _NoQueueError as error:
            return text_page(HTTPStatus.NOT_FOUND, str(error))
        except BusyError as error:
            return _unavailable(str(error))

    def _healthz(self) -> Page:
        away = self._look.away()
        return _unavailable(away) if away else text_page(HTTPStatus.OK, "ok")

    def _asked(self, query: Mapping[str, list[str]]) -> Sequence[str]:
        asked = query.get(_QUEUE)
        if asked is None:
            return self._look.queues
        for queue in asked:
            if queue not in self._look.queues:
                raise _NoQueueError(
                    f"no queue {shown(queue)} here; there are"
                    f" {', '.join(map(shown, self._look.queues))}"
                )
        return list(dict.fromkeys(asked))

    def _metrics(self, query: Mapping[str, list[str]], accept: str) -> Page:
        _, content_type, openmetrics = format_of(accept)
        wanted = query.get(n.CONSUMER_LABEL)
        merged = MergedPage(self._known, openmetrics=openmetrics)
        ages: dict[Labels, float] = {}
        skipped: dict[Labels, float] = {}

        def take(queue: str, page: Stored) -> None:
            if wanted is None or page.name in wanted:
                gauges = page.state == LIVE
                number = merged.add(page.name, page.text, gauges=gauges)
                ages[queue, page.name] = page.age
                skipped[queue, page.name] = number

        found = self._look(self._asked(query), take, wanted)
        own = _of_queues(found) if wanted is None else []
        own += [
            NumberFamily(EXPORTER[n.EXPORTER_UP], {(): float(_tells_all(found))}),
            NumberFamily(EXPORTER[n.EXPORTER_PAGES], _states(found)),
            NumberFamily(EXPORTER[n.EXPORTER_PAGE_AGE], ages),
            NumberFamily(EXPORTER[n.EXPORTER_SERIES_SKIPPED], skipped),
        ]
        return Page(HTTPStatus.OK, content_type, merged.text(own))

    def _queues(self, query: Mapping[str, list[str]]) -> Page:
        running: dict[str, int] = {}

        def take(queue: str, page: Stored) -> None:
            if page.state == LIVE:
                running[queue] = running.get(queue, 0) + page.busy

        queues = self._asked(query)
        found = self._look(queues, take)
        troubles = [why for seen in found for why in _untold(seen)]
        if troubles:
            return _unavailable("; ".join(dict.fromkeys(troubles)))
        answers = {seen.queue: _answer(seen, running.get(seen.queue)) for seen in found}
        one = _QUEUE in query and len(queues) == 1
        body = json.dumps(answers[queues[0]] if one else answers)
        return Page(HTTPStatus.OK, _JSON, f"{body}\n".encode())


class _NoQueueError(Exception):
    """A queue was asked for that the exporter was not started with."""


def _unavailable(why: str) -> Page:
    return text_page(HTTPStatus.SERVICE_UNAVAILABLE, why)


def _untold(seen: Seen) -> list[str]:
    """Why the numbers of a queue would be too small."""
    return [*seen.troubles, *(f"page {bad.key} {bad.why}" for bad in seen.bad)]


def _answer(seen: Seen, running: int | None) -> dict[str, Any]:
    held = seen.backlog
    if held is None:
        raise AssertionError(f"{seen.queue}: neither a backlog nor a trouble")
    answer = {
        "waiting": held.waiting,
        "scheduled": held.scheduled,
        "due": held.due,
        _RUNNING: running,
        "work": held.waiting + held.due + (running or 0),
    }
    return answer if running is not None else {**answer, "ignores": [_RUNNING]}


def _tells_all(found: Sequence[Seen]) -> bool:
    return not any(seen.troubles for seen in found)


def _of_queues(found: Sequence[Seen]) -> list[NumberFamily]:
    """The gauges of the queues' storage."""
    up: dict[Labels, float] = {
        (seen.queue,): float(seen.backlog is not None) for seen in found
    }
    families = [NumberFamily(CATALOG[n.STORAGE_UP], up)]
    for name, part in _OF_BACKLOG.items():
        values: dict[Labels, float] = {
            (seen.queue,): value
            for seen in found
            if seen.backlog is not None
            for value in [getattr(seen.backlog, part)]
            if value is not None
        }
        families.append(NumberFamily(CATALOG[name], values))
    return families


def _states(found: Sequence[Seen]) -> dict[Labels, float]:
    return {
        (seen.queue, state): number
        for seen in found
        for state, number in sorted(seen.states.items())
    }
