"""The in-flight table: what workers hold, what a dead one lost, or did not end."""

from collections.abc import Iterable, Iterator
from typing import Any

from huey_otel import _names as n
from huey_otel import events, mapping
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import Record
from huey_otel._wire.span import SpanLeft, SpanStart


class InFlight:
    """Follows the records of all workers. Not thread-safe: the relay's alone.

    By process and worker, then by sequence, never by task id: an error handler's
    id repeats, and the same Task may be enqueued twice.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, str | None], dict[int, Record]] = {}

    def joined(self, record: Record) -> Record:
        """*record*, with all that is known of the span if it is the attempt's last."""
        if record.start is None:
            return record
        if record.status != mapping.ENDED and not mapping.closes(record.extra):
            return record
        held = self._held.get((record.pid, record.worker), {}).get(record.key)
        if held is None or held.start is None:
            return record._replace(start=None)
        left = SpanLeft(*held.start)._replace(end=record.start or None)
        return record._replace(start=tuple(left))

    def apply(self, record: Record, queue: str = "") -> Iterable[Record]:
        """Take *record* in; the ends that it shows, of attempts that send none.

        *queue* is what it is counted for, if one of them was interrupted.
        """
        worker = record.pid, record.worker
        match record.status:
            case mapping.GONE:
                return list(self._lose(record))
            case mapping.WORKER_ENDED:
                return self._close_the_one_before(record, queue)
            case _ if not record.key:
                # Of no attempt, or of many that are summed up.
                return ()
            case mapping.DEQUEUED:
                # Another thread may record it late, after the start.
                self._held.setdefault(worker, {}).setdefault(record.key, record)
            case events.EVENT_STARTED:
                before = self._close_the_one_before(record, queue)
                if record.start is not None:
                    record = record._replace(start=tuple(SpanLeft(record.start)))
                self._held.setdefault(worker, {})[record.key] = record
                return before
            case mapping.ENDED:
                self._let_go(record)
            case events.EVENT_FINISHED if mapping.closes(record.extra):
                self._let_go(record)
            case _:
                held = self._held.get(worker)
                if held is not None and record.key in held:
                    held[record.key] = _after(held[record.key], record)
        return ()

    def _let_go(self, record: Record) -> None:
        worker = (record.pid, record.worker)
        held = self._held.get(worker)
        if held is not None:
            held.pop(record.key, None)
            if not held:
                del self._held[worker]

    def _close_the_one_before(self, record: Record, queue: str) -> Iterable[Record]:
        """End the attempt that `after` in *record* names, if it is still held.

        It is the one that the same worker ran before, so it is over. Its end did not
        arrive: a signal handler of the application raised before it was sent.
        """
        before: int = (record.extra or {}).get("after", 0)
        held = self._held.get((record.pid, record.worker), {}).get(before)
        if held is None or held.status == mapping.DEQUEUED:
            return ()
        self._let_go(held)
        why = "the end of an attempt was interrupted before it was sent"
        LOSSES.count(n.LOSS_INTERRUPTED, why=why, queue=queue)
        return (_interrupted(held, record.timestamp),)

    def _lose(self, gone: Record) -> Iterator[Record]:
        for worker, held in list(self._held.items()):
            if worker[0] != gone.pid or gone.worker not in (None, worker[1]):
                continue
            del self._held[worker]
            for record in held.values():
                told = record.status == mapping.ENDED
                yield record if told else _lost(record, gone.timestamp)

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))


def _interrupted(held: Record, now: float) -> Record:
    """The end of an attempt that sent none: as it was recorded, or an error.

    Its worker has exported the span, unless that crosses.
    """
    if held.status != mapping.ENDED:
        held = _ended(held, n.OUTCOME_ERROR, n.OUTCOME_FAILURE, None)
        held = held._replace(timestamp=now)
    if held.start is not None:
        start = SpanLeft(*held.start).start
        if len(start) == 1 or not SpanStart(*start).crosses:
            held = held._replace(start=None)
    return held


def _after(held: Record, record: Record) -> Record:
    """What is held of an attempt after *record*.

    Once its run is over, that is the `ended` which a worker that is killed right then
    can no longer send. A killed retry counts as put back.
    """
    extra = record.extra or {}
    record = record._replace(start=_left(held, record))
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
        # In place of finished: the function returned, and its result is gone.
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


def _left(held: Record, record: Record) -> tuple[Any, ...] | None:
    """The span that is left to be made after *record*, which may tell of a failure."""
    if held.start is None or record.start is None:
        return None
    extra, left = record.extra or {}, SpanLeft(*held.start)
    if record.start and left.failure is None:
        (message,) = record.start
        name = extra.get("exception") or n.OUTCOME_ERROR
        left = left._replace(failure=(name, message, extra.get("traceback")))
    return tuple(left)


def _lost(record: Record, now: float) -> Record:
    lost = record._replace(status=events.EVENT_LOST, timestamp=now, extra={})
    if record.status != events.EVENT_STARTED:
        return lost
    return lost._replace(extra={"duration": max(0.0, now - record.timestamp)})
