"""The in-flight table: what workers hold, and so what a dead one has lost."""

from collections.abc import Iterable, Iterator
from typing import Any

from huey_otel import _names as n
from huey_otel import events, mapping
from huey_otel._wire.record import Record
from huey_otel._wire.span import SpanStart


class InFlight:
    """Follows the records of all workers. Not thread-safe: the relay's alone.

    Keyed by process and sequence, never by task id: an error handler's id
    repeats, and the same Task may be enqueued twice.
    """

    def __init__(self) -> None:
        self._held: dict[int, dict[int, Record]] = {}

    def apply(self, record: Record) -> Iterable[Record]:
        """Take *record* in; a `lost` one for each task it shows to be lost."""
        match record.status:
            case mapping.GONE:
                return list(self._lose(record))
            case _ if not record.key:
                # Of no attempt, or of many that are summed up.
                pass
            case mapping.DEQUEUED:
                # A thread's is told of when another one ends it, maybe after its start.
                self._held.setdefault(record.pid, {}).setdefault(record.key, record)
            case events.EVENT_STARTED:
                self._held.setdefault(record.pid, {})[record.key] = record
            case mapping.ENDED:
                self._let_go(record)
            case events.EVENT_FINISHED if mapping.closes(record.extra):
                self._let_go(record)
            case _:
                held = self._held.get(record.pid)
                if held is not None and record.key in held:
                    held[record.key] = _after(held[record.key], record)
        return ()

    def _let_go(self, record: Record) -> None:
        held = self._held.get(record.pid)
        if held is not None:
            held.pop(record.key, None)
            if not held:
                del self._held[record.pid]

    def _lose(self, gone: Record) -> Iterator[Record]:
        held = self._held.get(gone.pid, {})
        for key, record in list(held.items()):
            if gone.worker is not None and gone.worker != record.worker:
                continue
            del held[key]
            told = record.status == mapping.ENDED
            yield record if told else _lost(record, gone.timestamp)
        if not held:
            self._held.pop(gone.pid, None)

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))


def _after(held: Record, record: Record) -> Record:
    """What is held of an attempt after *record*.

    Once its end has been told that is the `ended` which a worker that is killed
    right then can no longer send. A killed retry counts as put back.
    """
    extra = record.extra or {}
    if record.status == events.EVENT_RETRYING:
        if held.status == mapping.ENDED:
            return held._replace(extra={**(held.extra or {}), "final": None})
        duration = max(0.0, record.timestamp - held.timestamp)
        return _ended(record, n.OUTCOME_RETRY_REQUESTED, None, duration)
    row = mapping.TABLE[record.status]
    if held.status == mapping.ENDED:
        return held
    if row.final is not None:
        return _ended(record, row.outcome, row.final, extra.get("duration"))
    if row.error and "duration" in extra:
        # In place of finished: the function has returned, nobody gets its result.
        return _ended(record, n.OUTCOME_SUCCESS, n.OUTCOME_FAILURE, extra["duration"])
    return held


def _ended(
    record: Record, outcome: str | None, final: str | None, duration: float | None
) -> Record:
    extra: dict[str, Any] = {"outcome": outcome, "final": final}
    if duration is not None:
        extra["duration"] = duration
    exception = (record.extra or {}).get("exception")
    if exception is not None:
        extra["exception"] = exception
    return record._replace(status=mapping.ENDED, extra=extra)


def _lost(record: Record, now: float) -> Record:
    lost = record._replace(status=events.EVENT_LOST, timestamp=now, extra={})
    if record.status != events.EVENT_STARTED:
        return lost
    start = SpanStart(*(record.start or ()))
    return lost._replace(
        extra={"duration": max(0.0, now - record.timestamp)},
        start=tuple(start._replace(wait=(record.extra or {}).get("wait"))),
    )
