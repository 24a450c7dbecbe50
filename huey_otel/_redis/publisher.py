"""The feed: publishes events on Redis, on its own thread and connection."""

import os
import threading
import time
from typing import Final

from huey_otel import _names as n
from huey_otel._redis.connection import PublishingConnection, RefusedError
from huey_otel._redis.outbox import Outbox
from huey_otel._safety.forks import in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.redaction import said
from huey_otel._safety.timeout import is_the_applications
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._storage.watch import Watch
from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source
from huey_otel.mapping import TABLE, Published

_PATIENCE: Final = 2.0
"""Seconds without an answer, after which a second connection is tried."""

_LONGEST_SILENCE: Final = 30.0
"""Seconds without an answer, while others get theirs, of a connection that is dead.

Redis answers a PING and keeps a PUBLISH waiting in a CLIENT PAUSE WRITE, as of a
failover, so a few seconds prove nothing.
"""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_REFUSED_PAUSE: Final = 60.0

_STREAK: Final = "feed thread"

_UNPUBLISHED: Final = frozenset(
    status for status, row in TABLE.items() if row.published is Published.NEVER
)


class Publisher:
    """A sink that publishes each event as JSON on *channel*.

    A Redis that is away, hangs, or refuses holds up nothing but the feed. Each
    event is published once or counted as lost: one whose answer did not come
    because the connection broke is counted, and so is one that reached no subscriber
    because its server had become a replica.
    """

    def __init__(self, emitter: RedisEventEmitter, channel: str) -> None:
        self._emitter = emitter
        self.channel = channel
        self._link: PublishingConnection | None = None
        self._begin()
        in_child(self._after_fork)

    def _begin(self) -> None:
        self._outbox = Outbox()
        self._thread: threading.Thread | None = None
        self._watch = Watch()

    def _after_fork(self) -> None:
        self._hang_up()
        self._begin()

    def __call__(self, record: Record, source: Source) -> None:
        """Take *record* in if Redis readers get it; never blocks."""
        if record.status in _UNPUBLISHED or record.sums_up:
            return
        payload = spell(record, source).encode()
        dropped = self._outbox.put(payload)
        if self._thread is None:
            self._start()
        if dropped:
            why = f"{self._emitter.address} takes fewer events than there are"
            LOSSES.count(n.LOSS_FEED_FULL, dropped, why=why)

    @property
    def server(self) -> str:
        """Where it publishes, for people."""
        return self._emitter.address

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are delivered; True if so."""
        return self._outbox.flush(timeout)

    def close(self, timeout: float) -> None:
        """Flush, then end thread and connection; what is left then is lost."""
        self.flush(timeout)
        left = self._outbox.close()
        if left:
            why = f"{self._emitter.address} did not take all events before the end"
            LOSSES.count(n.LOSS_FEED_SHUTDOWN, left, why=why)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="huey-otel-feed", daemon=True)
        try:
            self._thread = thread
            thread.start()
        except BaseException as error:
            self._thread = None
            if not isinstance(error, RuntimeError) or is_the_applications(error):
                raise
            # The next event tries again, and this one waits for it.
            why = f"the feed's thread cannot be started, events wait: {error}"
            LOSSES.count(n.LOSS_INTERNAL, 0, streak=_STREAK, why=why)
        else:
            LOSSES.recovered(_STREAK)

    def _run(self) -> None:
        pause = 0.0
        # Who started it may have been interrupted, and given up.
        me = threading.current_thread()
        while self._outbox.wait(pause) and self._thread is me:
            next_pause = self._try_to_publish(pause)
            if next_pause is None:
                self._give_up(n.LOSS_FEED_UNCONFIRMED, "could not be written to")
                next_pause = _LONGEST_PAUSE
            pause = next_pause
        if self._thread is me:
            self._hang_up()

    @guarded
    def _try_to_publish(self, pause: float) -> float:
        """Publish what waits; seconds to pause then, after one of *pause*."""
        from redis.exceptions import RedisError

        try:
            self._publish()
        except RefusedError as refusal:
            self._give_up(n.LOSS_FEED_REFUSED, f"refuses events: {said(refusal)}")
            return _REFUSED_PAUSE
        except (RedisError, OSError) as error:
            self._give_up(n.LOSS_FEED_UNCONFIRMED, f"is away: {said(error)}")
            return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        return 0.0

    def _publish(self) -> None:
        """Publish until nothing waits."""
        pid = os.getpid()
        try:
            self._publish_what_waits()
        finally:
            # A child closes the connection, also below a greenlet that reads from it.
            stay_where_forked(pid)

    def _publish_what_waits(self) -> None:
        confirmed = False
        link = self._ready_link()
        while payloads := self._outbox.take():
            link.send(self.channel, payloads)
            confirmed = self._await_answers(link)
            if self._watch.is_due():
                link = self._ready_link()
        if confirmed:
            LOSSES.recovered(
                self._streak, message=f"events go to {self._emitter.address} again"
            )
            LOSSES.recovered(n.LOSS_FEED_FULL)

    def _await_answers(self, link: PublishingConnection) -> bool:
        """Wait until all that was sent is answered; False when closed before that."""
        refused = []
        silent_since: float | None = None
        while link.unanswered:
            if self._outbox.closed:
                return False
            answer = link.answer(_PATIENCE)
            if answer is None:
                silent_since = self._ask_again(link, silent_since)
                continue
            silent_since = None
            if isinstance(answer, Exception):
                refused.append(answer)
            else:
                self._outbox.answered()
                if not answer:
                    self._watch.unheard += 1
        if refused:
            raise RefusedError(str(refused[0]))
        return True

    def _ready_link(self) -> PublishingConnection:
        from redis.exceptions import RedisError

        if self._link is not None:
            try:
                if not (self._link.stale() or self._watch.is_over(self._link.ask)):
                    return self._link
            except (RedisError, OSError):
                # Closed while idle, as Redis' own `timeout` does: nothing is lost.
                pass
            self._hang_up()
        link = PublishingConnection(self._emitter.connections)
        link.open()
        self._link = link
        self._say_where_it_leads(self._watch.begin(link.ask))
        return link

    def _say_where_it_leads(self, vain: int | None) -> None:
        address = self._emitter.address
        streak = f"{n.LOSS_FEED_REPLICA} {address} {self.channel}"
        if vain is not None:
            why = f"{address} had become a replica; events follow to the new master"
            LOSSES.count(n.LOSS_FEED_REPLICA, vain, streak=f"{streak} left", why=why)
            LOSSES.recovered(f"{streak} left")
        if self._watch.master is False:
            why = f"{address} is a replica; events that reach it go no further"
            LOSSES.count(n.LOSS_FEED_REPLICA, 0, streak=streak, why=why)
        else:
            LOSSES.recovered(streak)

    def _ask_again(
        self, silent: PublishingConnection, since: float | None
    ) -> float | None:
        """Find out on a second connection whether Redis hangs or only the first one.

        One that hangs goes on where it stood and answers what it was sent,
        so nothing is given up while no other connection is served either.
        *since* is when others were first served while *silent* was not.
        """
        from redis.exceptions import RedisError

        second = PublishingConnection(self._emitter.connections)
        try:
            second.open()
        except (RefusedError, RedisError, OSError) as error:
            self._away(f"does not answer: {said(error)}")
            return None
        second.close()
        if silent.stale():
            return None
        now = time.monotonic()
        if since is not None and now - since >= _LONGEST_SILENCE:
            raise OSError("the connection is dead, its answers never came")
        self._away("takes no events now")
        return now if since is None else since

    def _give_up(self, reason: str, what: str) -> None:
        """Count what was sent and not answered, and begin with a new connection."""
        self._hang_up()
        self._away(what, reason, self._outbox.give_up())

    @property
    def _streak(self) -> str:
        return f"{self._emitter.address} {self.channel}"

    def _away(
        self, what: str, reason: str = n.LOSS_FEED_UNCONFIRMED, lost: int = 0
    ) -> None:
        then = "events wait for it"
        if lost:
            then = "new events wait, and what it was sent and did not confirm is lost"
        why = f"{self._emitter.address} {what}; {then}"
        LOSSES.count(reason, lost, streak=self._streak, why=why)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
