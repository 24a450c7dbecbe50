"""The facts: all that findings look at, gathered once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from huey_otel._options.values import Stream
from huey_otel._redis.stream import key_of
from huey_otel._safety import encodable
from huey_otel._safety.log import described
from huey_otel._safety.timeout import or_else
from huey_otel._storage.carriers import carrier_or_none
from huey_otel._storage.contents import Contents, Meaning, contents
from huey_otel._storage.emitter import of_storage
from huey_otel._storage.own import our_own
from huey_otel._storage.spellings import spellings
from huey_otel.cli import target as targets
from huey_otel.cli.check import environment, events, keys, pages, server, streams
from huey_otel.cli.check.asking import Asking
from huey_otel.cli.check.environment import Environment
from huey_otel.cli.check.finding import Unknown
from huey_otel.cli.check.keys import Keys
from huey_otel.cli.check.pages import Pages
from huey_otel.cli.check.server import Server
from huey_otel.cli.check.streams import Kept
from huey_otel.cli.target import CannotLookError
from huey_otel.cli.untraced import untraced

if TYPE_CHECKING:
    from huey_otel._storage.emitter import RedisEventEmitter
    from huey_otel.events import Event

_MOST_DATABASES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one queue; None for what the target does not have.

    *server* is the Redis that the queue is on, *outlet* the one that its events go to,
    on *channel*; often that is the same. *publishing* is empty where events may be
    published, else what Redis says. *kept* is their stream. *held* is what a storage
    that is no Redis holds. *events* are some of the last ones.
    """

    queue: str
    channel: str = ""
    environment: Environment | None = None
    server: Server | None = None
    outlet: Server | None = None
    publishing: str | Unknown = ""
    kept: Kept | None = None
    keys: Keys | None = None
    held: Contents | Unknown | None = None
    pages: Pages | None = None
    events: Sequence["Event"] = ()

    @property
    def is_unseen(self) -> bool:
        """Whether there was nothing to look at but a Redis that is away."""
        only = self.environment is None and self.server is not None
        return only and bool(self.server and self.server.away)

    @property
    def asks_for_stream(self) -> bool:
        """Whether the application would write a stream in this environment."""
        known = self.environment
        return known is not None and known.settings.stream is not None

    @property
    def entries(self) -> int:
        """How many entries the stream keeps, as far as the application tells."""
        known = self.environment
        stream = None if known is None else known.settings.stream
        return (stream or Stream()).entries

    @property
    def servers(self) -> list[Server]:
        """Those that answer, each once."""
        both = [self.server, self.outlet if self.outlet is not self.server else None]
        return [one for one in both if one is not None and not one.away]

    @property
    def page(self) -> Pages | None:
        """A consumer's pages, if it takes messages of this queue."""
        shown = self.pages is not None and self.queue in self.pages.infos
        return self.pages if shown else None


def gather(target: targets.Target, listen: float) -> list[Facts]:
    """Look at *target*, and listen to events for so many seconds; the facts by queue.

    Raises CannotLookError where there is no consumer at an address.
    """
    with untraced():
        return _gathered(target, listen)


def _gathered(target: targets.Target, listen: float) -> list[Facts]:
    if isinstance(target, targets.Application):
        return [_of_application(target, listen)]
    if isinstance(target, targets.Queues):
        return list(_of_queues(target, listen))
    found = pages.look_at(target.host, target.port)
    if found.silent:
        raise CannotLookError(f"{found.address} does not answer: {found.silent}")
    if found.foreign:
        raise CannotLookError(f"{found.address} answers, but as no huey-otel consumer")
    return [Facts(queue=queue, pages=found) for queue in sorted(found.infos)]


def _of_queues(target: targets.Queues, listen: float) -> Iterator[Facts]:
    with _asking(target.redis) as client:
        ask = Asking()
        channels = channels_of(*target.names)
        found = server.look_at(ask, client, target.redis.address, channels)
        for queue in target.names:
            if found.away:
                yield Facts(queue=queue, server=found)
                continue
            held = keys.look_at(ask, client, queue, _databases(found))
            # Without keys huey's own spelling is most likely.
            channel = held.main.name if held.elsewhere is None else channels[0]
            key = key_of(channel)
            yield Facts(
                queue=queue,
                channel=channel,
                server=found,
                outlet=found,
                publishing=server.publishing(ask, client, channel, found.info),
                kept=streams.look_at(ask, client, key),
                keys=held,
                events=events.recent(
                    *(ask, client, target.redis, channel, key), queue, listen
                ),
            )


def _of_application(target: targets.Application, listen: float) -> Facts:
    huey = target.huey
    queue = encodable.name(huey.name)
    known = environment.look_at(target.path, huey)
    exposed = known.settings.exposed
    meaning = Meaning(carrier=carrier_or_none, now=huey._get_timestamp)  # noqa: SLF001 - there is no other way
    facts: dict[str, Any] = {
        "queue": queue,
        "environment": known,
        "channel": known.channel,
        "pages": pages.look_at(exposed.host, exposed.port) if exposed.port else None,
    }
    ask = Asking()
    own, _ = our_own(huey.storage)
    emitter = of_storage(huey.storage)
    if emitter is None:
        facts["held"] = or_else(
            lambda: contents(queue, own, meaning),
            lambda error: Unknown(f"the storage raised {described(error)}"),
        )
        if own is not huey.storage:
            own.close()
    else:
        channels = (known.channel, *channels_of(queue))
        try:
            found = server.look_at(ask, own.conn, emitter.address, channels)
            facts["server"] = found
            if not found.away:
                facts["keys"] = keys.look_at(
                    ask,
                    own.conn,
                    queue,
                    _databases(found),
                    own=own,
                    meaning=meaning,
                )
            if known.emitter is not None and known.emitter.connections.are_like(
                emitter.connections
            ):
                facts |= _outlet(ask, own.conn, known, found, queue, listen)
        finally:
            own.conn.connection_pool.disconnect()
    if known.emitter is not None and "outlet" not in facts:
        with _asking(known.emitter) as client:
            channels = (known.channel, *channels_of(queue))
            found = server.look_at(ask, client, known.emitter.address, channels)
            facts |= _outlet(ask, client, known, found, queue, listen)
    return Facts(**facts)


def _outlet(
    ask: Asking,
    client: Any,
    known: Environment,
    found: Server,
    queue: str,
    listen: float,
) -> dict[str, Any]:
    """The facts of *found*, the server on which events are published."""
    if found.away or known.emitter is None:
        return {"outlet": found}
    stream = known.settings.stream
    key = key_of(known.channel, stream)
    return {
        "outlet": found,
        "publishing": server.publishing(
            *(ask, client, known.channel, found.info),
            key=None if stream is None else key,
        ),
        "kept": streams.look_at(ask, client, key),
        "events": events.recent(
            *(ask, client, known.emitter, known.channel, key), queue, listen
        ),
    }


@contextmanager
def _asking(emitter: "RedisEventEmitter") -> Iterator[Any]:
    client = emitter.connections.to_ask()
    try:
        yield client
    finally:
        client.connection_pool.disconnect()


def channels_of(*queues: str) -> tuple[str, ...]:
    """The channels on which a program may expect events of *queues*."""
    found: list[str] = []
    for queue in queues:
        found += [*spellings(queue), queue, queue.lower()]
    return tuple(dict.fromkeys(found))


def _databases(found: Server) -> Sequence[int]:
    """The other databases of *found* that have keys."""
    info: Iterable[str] = () if isinstance(found.info, Unknown) else found.info
    numbers = [name.removeprefix("db") for name in info if name.startswith("db")]
    others = [int(one) for one in numbers if one.isdecimal()]
    return sorted(set(others) - {found.database})[:_MOST_DATABASES]
