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
from huey_otel._safety.encodable import LONGEST, number
from huey_otel._safety.encodable import name as sayable_name
from huey_otel._safety.timeout import is_the_applications, or_else
from huey_otel._tasks.attempt import Attempt, running
from huey_otel._tasks.context import HERE, Doing, Outgoing
from huey_otel._tasks.signs import NOBODYS, Signs
from huey_otel._wire.record import TaskFacts, facts_of, record_of

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
        # Both are set when a consumer starts: before its forks.
        self.scheduler: Signs = NOBODYS
        self._names: dict[type, tuple[str, str]] = {}

    def facts(self, task: Task, attempt: int) -> TaskFacts:
        short, name = self._names.get(type(task)) or self._name(type(task))
        try:
            identity = task.id
            plain = type(identity) is str and identity.isascii()
            if not plain or len(identity) > LONGEST:
                identity = sayable_name(identity)
        except Exception as error:
            if is_the_applications(error):
                raise
            identity = n.UNKNOWN_ID
        delay, eta = task.retry_delay, task.eta
        if type(delay) is not int:
            delay = number(delay)
        due = None if eta is None else self.eta(task)
        return facts_of((identity, short, name, delay, due, attempt, None, None))

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
        known = None if facts is None else tuple(facts)
        left = None if retries is None else number(retries)
        relay.send(
            record_of(
                (
                    *(self.source, status, now, relay.pid, 0),
                    *(worker, known, left, extra, None),
                )
            )
        )

    def tell(
        self,
        attempt: Attempt,
        status: str,
        *,
        retries: float | None = None,
        extra: dict[str, Any] | None = None,
        timestamp: float | None = None,
        must: bool = False,
    ) -> bool:
        """Record a step of *attempt*; *retries* None is what it began with.

        *must*: never sum it up, since an earlier record announced it.
        """
        if attempt.finished_extra is not None:
            # Another record comes before `ended`, so they cannot be one.
            kept, attempt.finished_extra = attempt.finished_extra, None
            self.tell(attempt, e.EVENT_FINISHED, extra=kept, timestamp=attempt.stopped)
        fields = (
            attempt.source,
            status,
            time.time() if timestamp is None else timestamp,
            self.relay.pid,
            attempt.key,
            attempt.worker,
            attempt.facts_tuple,
            attempt.retries if retries is None else retries,
            extra,
            attempt.owed,
        )
        # Right before: the main thread may end the process at any line.
        sent = not attempt.disowned and self.relay.send(record_of(fields), must=must)
        attempt.summed_up |= not sent
        return sent

    def close(self, attempt: Attempt) -> None:
        """Nothing further comes of *attempt*: record its outcome.

        Unless nothing was recorded of it, or it was closed before.
        """
        if running.get(id(attempt.task)) is attempt:
            # The end of the process may empty it at any time.
            running.pop(id(attempt.task), None)
        outcome, final = attempt.outcome, attempt.final_outcome
        extra, attempt.finished_extra = attempt.finished_extra, None
        if extra is not None:
            # One record for both.
            status, now = e.EVENT_FINISHED, attempt.stopped
        elif attempt.announced or outcome or final:
            status, now, extra = mapping.ENDED, time.time(), {}
            if attempt.duration is not None:
                extra["duration"] = attempt.duration
            if attempt.raised is not None and self.settings.semconv_metrics:
                extra["exception"] = failures.class_name(attempt.raised)
        else:
            # The task was put back before it ran.
            attempt.close()
            return
        extra["outcome"], extra["final"] = outcome, final
        attempt.raised = attempt.outer_error = None
        fields = (
            attempt.source,
            status,
            now,
            self.relay.pid,
            attempt.key,
            attempt.worker,
            attempt.facts_tuple,
            attempt.retries,
            extra,
            attempt.owed,
        )
        if not attempt.disowned and attempt.close():
            self.relay.send(record_of(fields), must=attempt.announced)

    def accepted(self, here: Doing, outgoing: Outgoing) -> None:
        """Record that the storage has taken a message."""
        facts = outgoing.facts
        if not self._producer.over:
            if outgoing.origin in n.ORIGINS_OF_NEW_WORK:
                self._producer.inc(self._queue, facts.name, outgoing.origin)
            return
        extra: dict[str, Any] = {"origin": outgoing.origin}
        if outgoing.late is not None:
            extra["late"] = outgoing.late
        fields = (
            self.source,
            mapping.ACCEPTED,
            time.time(),
            self.relay.pid,
            0,
            here.worker,
            tuple(facts),
            None,
            extra,
            None,
        )
        self.relay.send(record_of(fields))

    def sent(self, outgoing: Outgoing) -> None:
        """Record how an enqueue went, for the semantic conventions' metrics."""
        if not self.settings.semconv_metrics or self.huey.immediate:
            return
        if outgoing.origin in n.REASONS_TO_REQUEUE:
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
