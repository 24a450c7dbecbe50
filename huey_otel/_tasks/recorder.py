"""The recorder: makes records of one huey's tasks, and hands them to the relay."""

import datetime
import time
from typing import Any, Final

from huey.api import Huey, Task

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel import mapping
from huey_otel._options.settings import Settings
from huey_otel._prometheus.producer import ProducerCounter
from huey_otel._relay.relay import Relay
from huey_otel._safety import failures
from huey_otel._safety.encodable import name as sayable_name
from huey_otel._safety.encodable import number
from huey_otel._safety.timeout import is_the_applications, or_else
from huey_otel._tasks.attempt import Attempt
from huey_otel._tasks.context import HERE, Outgoing
from huey_otel._wire.record import Record, TaskFacts, record_of

_EPOCH: Final = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - huey's are naive UTC
_MOST_NAMES: Final = 10_000


class Recorder:
    """Makes the records of one instrumented huey; *source* is the number of that huey.

    *producer* counts what is enqueued, until a consumer starts in this process.
    """

    def __init__(
        self,
        huey: Huey,
        source: int,
        relay: Relay,
        settings: Settings,
        producer: ProducerCounter,
    ) -> None:
        self.huey = huey
        self.source = source
        self.relay = relay
        self.settings = settings
        self._queue = sayable_name(huey.name)
        self._producer = producer
        self.worker_type: str | None = None
        self._names: dict[type, tuple[str, str]] = {}

    @property
    def announces(self) -> bool:
        """Whether a message is recorded as soon as it is popped.

        Without that, `Workers.abandon` knows what a thread of this process holds.
        """
        return self.relay.forked or self.settings.semconv_metrics

    def facts(self, task: Task, attempt: int) -> TaskFacts:
        short, name = self._names.get(type(task)) or self._name(type(task))
        delay = task.retry_delay
        try:
            identity = sayable_name(task.id)
        except Exception as error:
            if is_the_applications(error):
                raise
            identity = n.UNKNOWN_ID
        return TaskFacts(
            identity,
            short,
            name,
            delay if type(delay) is int else number(delay),
            None if task.eta is None else self.eta(task),
            attempt,
        )

    def _name(self, kind: type) -> tuple[str, str]:
        if len(self._names) >= _MOST_NAMES:
            # An application may declare and unregister tasks without end.
            self._names.clear()
        short = kind.__name__
        pair = (sayable_name(short), sayable_name(f"{kind.__module__}.{short}"))
        self._names[kind] = pair
        return pair

    def eta(self, task: Task) -> float | None:
        """When *task* is due, in Unix seconds; None for at once.

        None also where there is no timestamp: a time zone raises, or the year is 1.
        """
        eta = task.eta
        if eta is None:
            return None
        return or_else(lambda: self._unix_time(eta), lambda _: None)

    def _unix_time(self, moment: datetime.datetime) -> float:
        # huey's are naive: UTC, or local with utc=False.
        if moment.tzinfo is None and self.huey.utc:
            return (moment - _EPOCH).total_seconds()
        return moment.timestamp()

    def say(
        self,
        status: str,
        *,
        facts: TaskFacts | None = None,
        retries: object = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Record a step of no attempt."""
        now, relay, worker = time.time(), self.relay, HERE.local.doing.worker
        known, left = facts and tuple(facts), number(retries)
        relay.send(
            Record(self.source, status, now, relay.pid, 0, worker, known, left, extra)
        )

    def tell(
        self,
        attempt: Attempt,
        status: str,
        *,
        retries: float | None = None,
        extra: dict[str, Any] | None = None,
        timestamp: float | None = None,
        start: tuple[Any, ...] | None = None,
        must: bool = False,
        last: bool = False,
    ) -> bool:
        """Record a step of *attempt*; *retries* None is what it began with.

        *must*: never sum it up, since an earlier record announced it. *last*: close
        the attempt; nothing is recorded if it is closed already.
        """
        if attempt.finished_extra is not None and not last:
            # Another record comes before `ended`, so they cannot be one.
            kept, attempt.finished_extra = attempt.finished_extra, None
            self.tell(attempt, e.EVENT_FINISHED, extra=kept, timestamp=attempt.stopped)
        relay = self.relay
        fields = (
            attempt.source,
            status,
            time.time() if timestamp is None else timestamp,
            relay.pid,
            attempt.key,
            attempt.worker,
            attempt.facts_tuple,
            attempt.retries if retries is None else retries,
            extra,
            start,
        )
        # Right before: the main thread may end the process at any line.
        if attempt.disowned or (last and not attempt.close()):
            return False
        return relay.send(record_of(fields), must=must)

    def ended(self, attempt: Attempt) -> None:
        """Close *attempt*, and record its outcome unless nothing was recorded of it."""
        final = attempt.final_outcome
        if not (attempt.announced or attempt.outcome or final):
            # The task was put back before it ran.
            attempt.close()
            return
        extra: dict[str, Any] = {"outcome": attempt.outcome, "final": final}
        if attempt.duration is not None:
            extra["duration"] = attempt.duration
        status, timestamp = mapping.ENDED, None
        if attempt.finished_extra is not None:
            # One record for both.
            status, timestamp = e.EVENT_FINISHED, attempt.stopped
        elif attempt.raised is not None and self.settings.semconv_metrics:
            extra["exception"] = failures.class_name(attempt.raised)
        self.tell(
            attempt,
            status,
            extra=extra,
            timestamp=timestamp,
            must=attempt.announced,
            last=True,
        )
        attempt.finished_extra = attempt.raised = None

    def accepted(self, outgoing: Outgoing) -> None:
        """Record that the storage has taken a message."""
        facts = outgoing.facts
        if not self._producer.over:
            self._producer.inc(self._queue, facts.name, outgoing.origin)
            return
        extra: dict[str, Any] = {"origin": outgoing.origin}
        if outgoing.late is not None:
            extra["late"] = outgoing.late
        self.say(mapping.ACCEPTED, facts=facts, extra=extra)

    def sent(self, outgoing: Outgoing) -> None:
        """Record how an enqueue went, for the semantic conventions' metrics."""
        if not self.settings.semconv_metrics or self.huey.immediate:
            return
        if outgoing.origin in (n.ORIGIN_RETRY, n.ORIGIN_SCHEDULED):
            return
        extra: dict[str, Any] = {"duration": time.monotonic() - outgoing.began}
        if outgoing.error is not None:
            extra["exception"] = failures.class_name(outgoing.error)
        self.say(mapping.SENT, facts=outgoing.facts, extra=extra)

    def failure(self, error: BaseException | None) -> dict[str, Any]:
        """What an error event says of *error*; None where it is not known."""
        if error is None:
            return {"traceback": None, "exception": None}
        text = failures.text(error) if self.settings.tracebacks else None
        return {"traceback": text, "exception": failures.class_name(error)}

    def lose(self) -> None:
        """Record that a message was popped that cannot be decoded, and so is lost."""
        facts = TaskFacts("", n.UNKNOWN_TASK, n.UNKNOWN_TASK, None, None, 1)
        extra = {"outcome": None, "final": n.OUTCOME_LOST}
        self.say(mapping.ENDED, facts=facts, extra=extra)
