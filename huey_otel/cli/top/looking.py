"""Looking: the queues of a target, one of which is looked at each second."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from huey_otel._safety import encodable
from huey_otel._safety.log import logger
from huey_otel._storage.contents import Meaning, contents
from huey_otel._storage.emitter import of_storage
from huey_otel._storage.own import our_own
from huey_otel.cli.exporter.look import Look
from huey_otel.cli.sources import sources_of
from huey_otel.cli.target import (
    Address,
    Application,
    CannotLookError,
    Queues,
    Target,
    settings_of,
)
from huey_otel.cli.top.queue import Held, Queue
from huey_otel.cli.top.snapshot import Backlog, Snapshot
from huey_otel.cli.untraced import untraced


class Looking:
    """Looks at the queues of *target*; CannotLookError if it has none."""

    def __init__(self, target: Target) -> None:
        self.queues = _queues_of(target)
        # Listeners warn of what the screen shows.
        self._log = logger.propagate, logger.disabled
        logger.propagate, logger.disabled = False, True
        self._latest = [queue.unseen() for queue in self.queues]
        self._number = 0
        self._changed = threading.Condition()
        self._ended = False
        self._failed: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        for queue in self.queues:
            queue.close()
        logger.propagate, logger.disabled = self._log

    @untraced()
    def once(self) -> list[Snapshot]:
        """A snapshot of each queue; CannotLookError if one cannot be asked."""
        for queue in self.queues:
            snapshot = queue.seen()
            why = snapshot.away or snapshot.unknown.backlog
            if why:
                raise CannotLookError(why)
        return [queue.caught_up() for queue in self.queues]

    def begin(self, interval: float, wake: Callable[[], None]) -> None:
        """Look each *interval* seconds, on a thread; *wake* is called after each."""
        threading.Thread(
            target=self._run,
            args=(interval, wake),
            name="huey-otel-looking",
            daemon=True,
        ).start()

    def look_at(self, number: int) -> None:
        """Look at that one of the queues from now on."""
        with self._changed:
            if number != self._number:
                self._number = number
                self._changed.notify()

    def latest(self, number: int) -> Snapshot:
        """The last snapshot of that one of the queues; raises what ended the thread."""
        if self._failed is not None:
            raise self._failed
        return self._latest[number]

    @untraced()
    def _run(self, interval: float, wake: Callable[[], None]) -> None:
        while True:
            number = self._number
            try:
                self._latest[number] = self.queues[number].seen()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
                # A screen that stands still would look as if nothing happened.
                self._failed = error
                wake()
                return
            with self._changed:
                if self._ended:
                    return
                wake()
                if self._number == number:
                    self._changed.wait(interval)
                if self._ended:
                    return


def _queues_of(target: Target) -> list[Queue]:
    match target:
        case Queues(redis, names):
            look = Look(target, None, quiet=True, keep=True)
            return [
                Queue(
                    name,
                    redis.address,
                    look=look,
                    key=name,
                    held=None,
                    sources=sources_of(Queues(redis, (name,))),
                )
                for name in names
            ]
        case Application():
            return [_of_application(target)]
        case Address(host, port):
            raise CannotLookError(
                f"'{host}:{port}': a consumer's address shows one consumer; expected an"
                " application, or the URL of a Redis"
            )


def _of_application(application: Application) -> Queue:
    from huey.storage import MemoryStorage

    huey = application.huey
    name = encodable.name(huey.name)
    # A wrong variable raises.
    settings_of(huey)
    sources = []
    with suppress(CannotLookError):
        # Events may be off; what else there is can be shown.
        sources = sources_of(application)
    redis = of_storage(huey.storage)
    held: Held | None = None
    if redis is None:
        redis = sources[0].redis if sources else None
        in_memory = isinstance(huey.storage, MemoryStorage)
        if in_memory and redis is None:
            raise CannotLookError(
                f"{application.path!r}: its queue is in the memory of its own process,"
                " where no other one can look"
            )
        own, _ = our_own(huey.storage)
        meaning = Meaning(now=huey._get_timestamp)  # noqa: SLF001 - the only way

        def held() -> Backlog:
            if in_memory:
                return Backlog()
            found = contents(name, own, meaning)
            return Backlog(
                waiting=found.queue,
                scheduled=found.schedule,
                results=found.results,
                oldest=found.oldest,
                overdue=found.overdue,
            )

    key = huey.storage.name
    look = None
    if redis is not None:
        look = Look(Queues(redis, (key,)), None, exact=True, quiet=True, keep=True)
    return Queue(
        name,
        application.path if redis is None else redis.address,
        look=look,
        key=key,
        held=held,
        sources=sources,
    )
