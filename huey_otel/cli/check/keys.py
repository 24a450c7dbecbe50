"""A queue's keys in Redis, in each spelling of its name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from huey_otel._storage.carriers import carrier_or_none
from huey_otel._storage.contents import Meaning, oldest, overdue
from huey_otel._storage.spellings import keys_of, spellings, storage_spelled
from huey_otel.cli.check.asking import Asking
from huey_otel.cli.check.finding import Unknown
from huey_otel.cli.check.messages import Sample, sample

if TYPE_CHECKING:
    from redis import Redis

_PREFIXES: Final = ("redis", "schedule", "results", "counters")
_PREFIXES_OF_EXPIRE: Final = ("r", "c")
_AT_ONCE: Final = 1_000
_MOST_KEYS: Final = 100_000
_LONGEST_SCAN: Final = 2.0
_STAMP: Final = 8
"""Bytes of the time that a sorted set has before each message."""

_TYPES: Final[Mapping[Any, str]] = {b"none": "", b"list": "list", b"zset": "zset"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelled:
    """What is kept under one spelling of a queue's name; *layout* is empty for none."""

    name: str
    layout: str | Unknown
    waiting: int | Unknown
    scheduled: int | Unknown
    results: int | Unknown

    @property
    def messages(self) -> int:
        """On the queue and on the schedule, as far as known."""
        return known(self.waiting) + known(self.scheduled)

    @property
    def is_there(self) -> bool:
        """Whether it has any key."""
        return bool(self.messages or known(self.results))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The task that is first on the schedule: for how many *seconds* it is due.

    *exact* unless that depends on the time zone of those who schedule.
    """

    seconds: float
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Where else a queue may be: *databases* with its keys, and other *queues* here.

    *looked_at* of *keys* were looked at for those.
    """

    databases: Mapping[int, int]
    queues: tuple[str, ...]
    looked_at: int
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one queue; *main* is the spelling that its huey uses.

    *elsewhere* is None if the queue has any keys. *unread* is the seconds since any
    program read the schedule, None if there is none, or Redis does not tell.
    """

    main: Spelled
    unread: int | None
    others: tuple[Spelled, ...]
    oldest: float | Unknown | None
    due: Due | Unknown | None
    sample: Sample | Unknown
    elsewhere: Elsewhere | None


def known(number: int | Unknown) -> int:
    """*number*, 0 if it is not known."""
    return 0 if isinstance(number, Unknown) else number


def look_at(
    ask: Asking,
    client: "Redis",
    queue: str,
    databases: Sequence[int],
    *,
    own: Any = None,
    meaning: Meaning | None = None,
) -> Keys:
    """Look at the keys of *queue*, and at *databases* if it has none.

    *own* is the application's storage with a client of ours, and *meaning* how its
    huey reads it; without them the spelling that has messages is the one in use.
    """
    idle: Mapping[str, int | None] = {
        name: _unread(ask, client, name) for name in spellings(queue)
    }
    names = [name for name in spellings(queue) if own is None or name != own.name]
    storages = {name: _storage(ask, client, name) for name in names}
    found = {name: _spelled(ask, storage) for name, storage in storages.items()}
    if own is None:
        name = max(found, key=lambda one: (found[one].messages, found[one].is_there))
        main, storage = found.pop(name), storages[name]
    else:
        main, storage = _spelled(ask, own), own
    there = main.is_there or any(one.is_there for one in found.values())
    exact = meaning is not None
    meaning = meaning or Meaning(carrier=carrier_or_none)
    is_set = main.layout == "zset"
    return Keys(
        main=main,
        unread=idle.get(main.name),
        others=tuple(found.values()),
        oldest=ask("the oldest message", lambda: oldest(storage, meaning)),
        due=ask("the schedule", lambda: _due(storage, meaning, exact=exact)),
        sample=ask("the queue", lambda: _sample(client, storage, is_set=is_set)),
        elsewhere=None
        if there
        else _elsewhere(ask, client, [main.name, *found], databases),
    )


def _storage(ask: Asking, client: "Redis", name: str) -> Any:
    layout = ask("TYPE", lambda: client.type(f"huey.redis.{name}"))
    return storage_spelled(name, client, sorted_set=layout == b"zset")


def _unread(ask: Asking, client: Any, name: str) -> int | None:
    """The seconds since any program read the schedule; call it before reading that."""
    key = keys_of(name)[1]
    told: Any = ask("OBJECT IDLETIME", lambda: client.object("IDLETIME", key))
    return told if isinstance(told, int) else None


def _spelled(ask: Asking, storage: Any) -> Spelled:
    client, queue = storage.conn, storage.queue_key
    layout: Any = ask("TYPE", lambda: client.type(queue))
    if not isinstance(layout, Unknown):
        layout = _TYPES.get(layout, Unknown(f"{queue} is no queue of huey's"))
    # An Expire storage has a key for each result.
    hashed = isinstance(storage.result_key, str)
    return Spelled(
        name=storage.name,
        layout=layout,
        waiting=ask("the queue's length", lambda: int(storage.queue_size())),
        scheduled=ask("the schedule's length", lambda: int(storage.schedule_size())),
        results=ask("HLEN", lambda: int(client.hlen(storage.result_key)))
        if hashed
        else 0,
    )


def _due(storage: Any, meaning: Meaning, *, exact: bool) -> Due | None:
    seconds = overdue(storage, meaning)
    if exact:
        return None if seconds is None else Due(seconds=seconds, exact=True)
    # What huey writes there depends on its time zone, what the trailer says does not.
    first = storage.conn.zrange(storage.schedule_key, 0, 0)
    carrier = carrier_or_none(first[0]) if first else None
    if carrier is not None and carrier.eta is not None:
        seconds = time.time() - carrier.eta
        return Due(seconds=seconds, exact=True) if seconds > 0 else None
    return None if seconds is None else Due(seconds=seconds, exact=False)


def _sample(client: Any, storage: Any, *, is_set: bool) -> Sample:
    key = storage.queue_key
    if not is_set:
        # The last ones: they are pushed to the left.
        return sample(lambda first, last: client.lrange(key, first, last))
    return sample(
        lambda first, last: [one[_STAMP:] for one in client.zrevrange(key, first, last)]
    )


def _elsewhere(
    ask: Asking, client: Any, names: Sequence[str], databases: Sequence[int]
) -> Elsewhere:
    found = {
        database: held
        for database in databases
        for held in [known(ask("SELECT", partial(_held_in, client, database, names)))]
        if held
    }
    keys = ask("DBSIZE", lambda: int(client.dbsize()))
    queues, looked_at = _queues(ask, client)
    return Elsewhere(
        databases=found,
        queues=tuple(sorted(queues)),
        looked_at=looked_at,
        keys=known(keys),
    )


def _held_in(client: Any, database: int, names: Sequence[str]) -> int:
    """How many keys of the queue that is spelled as one of *names* a database has."""
    home = int(client.connection_pool.connection_kwargs.get("db") or 0)
    keys = [f"huey.{prefix}.{name}" for prefix in _PREFIXES for name in names]
    # All on the one connection of this client, which begins in its own database.
    client.execute_command("SELECT", database)
    try:
        return int(client.exists(*keys))
    finally:
        client.execute_command("SELECT", home)


def _queues(ask: Asking, client: Any) -> tuple[set[str], int]:
    """The names of queues in this database, and how many keys were looked at."""
    queues: set[str] = set()
    cursor, looked_at = 0, 0
    until = time.monotonic() + _LONGEST_SCAN
    while looked_at < _MOST_KEYS and time.monotonic() < until:
        scan = partial(client.scan, cursor, match="huey.*", count=_AT_ONCE)
        told: Any = ask("SCAN", scan)
        if isinstance(told, Unknown):
            break
        cursor, keys = told
        looked_at += _AT_ONCE
        queues |= {name for name in map(_queue_of, keys) if name}
        if not cursor:
            break
    return queues, looked_at


def _queue_of(key: bytes) -> str:
    """The name in a *key* of huey's, empty if it is none."""
    _, prefix, *rest = [*key.decode(errors="replace").split(".", 2), ""]
    if prefix in _PREFIXES:
        return rest[0]
    # A key for each result: what follows is its id.
    return rest[0].rpartition(".")[0] if prefix in _PREFIXES_OF_EXPIRE else ""
