"""Routes: which sinks take the records of which instrumented huey."""

from collections.abc import Sequence
from dataclasses import dataclass

from huey_otel._relay.inflight import InFlight
from huey_otel._safety.guard import guarded
from huey_otel._wire.record import Record, Sink, Source


@dataclass(slots=True)
class Route:
    """Where the records of one instrumented huey go."""

    source: Source
    sinks: Sequence[Sink]


class Routes:
    """Hands each record to the sinks of its huey, and the ends that it reveals."""

    def __init__(self) -> None:
        self._routes: dict[int, Route] = {}
        self._inflight = InFlight()

    def add(self, number: int, route: Route) -> None:
        """Send what is recorded under *number* to *route*."""
        self._routes[number] = route

    def remove(self, number: int) -> None:
        """Forget a route; records for it that are still on their way are dropped."""
        self._routes.pop(number, None)

    def deliver(self, record: Record) -> None:
        """Hand *record*, and the ends that it reveals, to their sinks in order."""
        self._hand_over(record)
        for end in self._inflight.apply(record):
            self._hand_over(end)

    def forget_in_flight(self) -> None:
        """Start with nothing in flight, as a forked child does."""
        self._inflight = InFlight()

    def _hand_over(self, record: Record) -> None:
        route = self._routes.get(record.source)
        if route is not None:
            for sink in route.sinks:
                _give(sink, record, route.source)


@guarded
def _give(sink: Sink, record: Record, source: Source) -> None:
    sink(record, source)
