"""Events as log records: a sink that sends them, on its own thread."""

import os
import threading
from functools import partial

from opentelemetry._logs import LogRecord
from opentelemetry.context import Context

from huey_otel import _names as n
from huey_otel._otel.current import make_current
from huey_otel._otel.log_outbox import LogOutbox, Numbered
from huey_otel._otel.log_records import log_record
from huey_otel._otel.logger_provider import LazyLogs, Outcome, Settle
from huey_otel._safety.forks import in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import described
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.threads import start
from huey_otel._safety.timeout import or_else
from huey_otel._wire.numbering import Numbering
from huey_otel._wire.record import Record, Source


class EventLogs:
    """A sink that makes a log record of each event of *queue*, and sends it by *logs*.

    `logs` finds the logger provider.

    A collector that is away, hangs or refuses delays only the thread of this sink.
    Each event arrives or is counted as lost, except by a provider of the application.
    An export that was on its way when the time to stop was over counts as lost, and
    may arrive.
    """

    def __init__(self, logs: LazyLogs, queue: str) -> None:
        self.logs = logs
        self._queue = queue
        self._start_over()
        in_child(self._start_over)

    def _start_over(self) -> None:
        self._numbering = Numbering()
        self._outbox = LogOutbox()
        self._thread: threading.Thread | None = None

    def __call__(self, record: Record, source: Source) -> None:
        """Put *record* in the outbox if it is published; never blocks."""
        seq = self._numbering.number_of(record)
        if seq is None:
            return
        dropped = self._outbox.put(Numbered(record, source, seq))
        if self._outbox.closed:
            if dropped:
                self._count(n.LOSS_LOGS_SHUTDOWN, dropped, "they came after the end")
            return
        if self._thread is None:
            self._start_thread()
        if dropped:
            why = "more happens than can be exported, and 8 MiB wait already"
            self._count(n.LOSS_LOGS_FULL, dropped, why)

    def hurry(self) -> None:
        """Begin to export what waits."""
        self._outbox.hurry()

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are delivered; True if so."""
        return self._outbox.flush(timeout)

    def close(self) -> None:
        """End the thread; what is left then is lost."""
        left = self._outbox.close()
        if left:
            why = "the collector did not take them before the end"
            self._count(n.LOSS_LOGS_SHUTDOWN, left, why)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="huey-otel-logs", daemon=True)
        started = False
        try:
            self._thread = thread
            started = start(thread, "the thread of log records")
        finally:
            if not started:
                # The next event tries again.
                self._thread = None

    def _run(self) -> None:
        # What exports is not traced itself; a greenlet begins with the context of the
        # one that started it.
        make_current(Context({n.SUPPRESS_INSTRUMENTATION: True}))
        me, outbox = threading.current_thread(), self._outbox
        settle = partial(self._settle, outbox, os.getpid())
        # Another thread takes over if the start of this one was interrupted.
        while outbox.wait() and self._thread is me:
            self._deliver(outbox.take(), settle)

    @guarded
    def _deliver(self, events: list[Numbered], settle: Settle) -> None:
        """Deliver *events*, and settle each of them."""
        records = []
        for event in events:
            made = or_else(partial(self._made, event), described)
            if isinstance(made, str):
                why = f"no log record can be made of one: {made}"
                settle(Outcome(lost=1, why=why))
            else:
                records.append(made)
        or_else(
            lambda: self.logs.resolved().deliver(records, settle),
            lambda error: settle(Outcome(lost=len(records), why=described(error))),
        )

    def _made(self, event: Numbered) -> LogRecord | str:
        record, source, seq = event
        return log_record(record, source, self._numbering.publisher, seq)

    def _settle(self, outbox: LogOutbox, pid: int, outcome: Outcome) -> None:
        """Note what became of some events that the process *pid* has taken."""
        # gevent's greenlets live on in a child, which has not lost what they export.
        stay_where_forked(pid)
        with outbox.settling(outcome.arrived, outcome.lost) as (arrived, lost):
            if arrived and not (lost and outcome.reason == n.LOSS_LOGS):
                again = f"events of {self._queue} go out as log records again"
                LOSSES.recovered(self._streak(n.LOSS_LOGS), message=again)
                LOSSES.recovered(self._streak(n.LOSS_LOGS_FULL))
                if not outcome.why:
                    LOSSES.recovered(self._streak(n.LOSS_LOGS_REJECTED))
            if lost or (outcome.why and not outcome.lost):
                self._count(outcome.reason, lost, outcome.why)

    def _count(self, reason: str, number: int, why: str) -> None:
        LOSSES.count(
            reason,
            number,
            why=f"events of {self._queue} as log records: {why}",
            queue=self._queue,
            streak=self._streak(reason),
        )

    def _streak(self, reason: str) -> str:
        return f"{reason} {self._queue}"
