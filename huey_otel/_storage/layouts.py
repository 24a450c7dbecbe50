"""Layouts: how huey's own storages keep messages, and what is cheap to ask of each.

A storage is known by its methods, so a subclass that keeps messages in another way
is not mistaken for its base. No answer reads more than one message; of a Redis that
runs no scripts, one for each priority, since its plain commands answer with them.
"""

import datetime
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

T = TypeVar("T")

LARGEST_READ: Final = 1_048_576
"""Bytes of a message that is read at most, only to learn how old it is.

A Redis that runs no scripts sends a larger one as well, which is dropped then.
"""

_MOST_PRIORITIES: Final = 64
"""Past so many, which message is the oldest is not looked for any further."""

Since = Callable[[bytes], float | None]
"""When a message was put on the queue, or due; None if it does not say."""

Oldest = Callable[[Any, Since], float | None]
"""Since when the oldest message of a storage's queue waits, in Unix seconds."""

Due = Callable[[Any, datetime.datetime], float | None]
"""For how many seconds the first message of the schedule is due, at a naive now."""

_LIST_OLDEST: Final = """
local message = redis.call('LINDEX', KEYS[1], -1)
if message and #message <= tonumber(ARGV[1]) then return message end
"""

# Of each priority the first; a member begins with the microseconds of its enqueue.
_SORTED_SET_OLDEST: Final = """
local oldest, above = nil, '-inf'
for _ = 1, ARGV[1] do
  local found = redis.call(
    'ZRANGEBYSCORE', KEYS[1], above, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not found[1] then return oldest end
  local began = string.sub(found[1], 1, 8)
  if not oldest or began < oldest then oldest = began end
  above = '(' .. found[2]
end
"""

_FIRST_SCORE: Final = "return redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]"


def oldest_of(storage: Any) -> Oldest | None:
    """How to ask *storage* for its oldest message, None if that is not known."""
    return _known(storage, "enqueue", _OLDEST)


def due_of(storage: Any) -> Due | None:
    """How to ask *storage* for what is due on its schedule, None if not known."""
    return _known(storage, "add_to_schedule", _DUE)


def counts_results(storage: Any) -> bool:
    """Whether the number of results costs *storage* no look at each of them."""
    return _known(storage, "result_store_size", _RESULTS) is not None


def _known(storage: Any, method: str, ways: Sequence[tuple[str, T]]) -> T | None:
    theirs = getattr(type(storage), method, None)
    for path, way in ways:
        module, _, name = path.rpartition(".")
        # No storage can be of a module that is not imported.
        kind = getattr(sys.modules.get(module), name, None)
        if theirs is not None and theirs is getattr(kind, method, None):
            return way
    return None


def _redis_list(storage: Any, since: Since) -> float | None:
    def plainly() -> Any:
        message = storage.conn.lindex(storage.queue_key, -1)
        return message if message and len(message) <= LARGEST_READ else None

    message = _scripted(
        storage.conn, _LIST_OLDEST, storage.queue_key, LARGEST_READ, plainly=plainly
    )
    return since(message) if message else None


def _redis_sorted_set(storage: Any, _: Since) -> float | None:
    def plainly() -> bytes | None:
        oldest: bytes | None = None
        above: float | str = "-inf"
        for _ in range(_MOST_PRIORITIES):
            found = storage.conn.zrangebyscore(
                storage.queue_key, above, "+inf", start=0, num=1, withscores=True
            )
            if not found:
                return oldest
            message, score = found[0]
            began = message[:8]
            oldest = began if oldest is None else min(oldest, began)
            above = f"({score!r}"
        return None

    began = _scripted(
        *(storage.conn, _SORTED_SET_OLDEST, storage.queue_key, _MOST_PRIORITIES),
        plainly=plainly,
    )
    return int.from_bytes(began) / 1e6 if began else None


def _redis_due(storage: Any, now: datetime.datetime) -> float | None:
    def plainly() -> float | None:
        found = storage.conn.zrange(storage.schedule_key, 0, 0, withscores=True)
        return found[0][1] if found else None

    score = _scripted(storage.conn, _FIRST_SCORE, storage.schedule_key, plainly=plainly)
    return None if score is None else storage.convert_ts(now) - float(score)


# Clients of a Redis that has refused to run a script.
_SCRIPTLESS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def _scripted(
    client: Any, script: str, key: Any, *arguments: int, plainly: Callable[[], Any]
) -> Any:
    """What *script* returns, or the same from *plainly* where none is run."""
    from redis import exceptions

    if client not in _SCRIPTLESS:
        try:
            return client.eval(script, 1, key, *arguments)
        except (
            *(exceptions.ResponseError, exceptions.ConnectionError),
            *(exceptions.TimeoutError, OSError),
        ):
            # Some proxies hang up on a script, or never answer.
            answer = plainly()
            # Only now: were Redis away, or refused all, so would it these.
            _SCRIPTLESS.add(client)
            return answer
    return plainly()


def _memory(storage: Any, since: Since) -> float | None:
    # A copy at one stroke: others push and pop meanwhile.
    queue = list(storage._queue)  # noqa: SLF001 - there is no other way
    return since(min(queue, key=itemgetter(1))[2]) if queue else None


def _memory_due(storage: Any, now: datetime.datetime) -> float | None:
    schedule = list(storage._schedule[:1])  # noqa: SLF001 - there is no other way
    return (now - schedule[0][0]).total_seconds() if schedule else None


def _file(storage: Any, _: Since) -> float | None:
    # <priority>-<milliseconds>, hexadecimal.
    began = [int(name[5:17], 16) for name in _names(storage.queue_path)]
    return min(began) / 1000 if began else None


def _file_due(storage: Any, now: datetime.datetime) -> float | None:
    first = min(_names(storage.schedule_path), default=None)
    return None if first is None else now.timestamp() - int(first[:12], 16) / 1000


def _names(path: str) -> Iterator[str]:
    if os.path.exists(path):  # noqa: PTH110 - as the storage does
        yield from (name for name in os.listdir(path) if name[-4:] != ".tmp")  # noqa: PTH208


def _sqlite(storage: Any, since: Since) -> float | None:
    return _sql(storage, since, "task", "?")


def _sqlite_due(storage: Any, now: datetime.datetime) -> float | None:
    return _sql_due(storage, now, "schedule", "?")


def _postgres(storage: Any, since: Since) -> float | None:
    return _sql(storage, since, storage.table_task, "%s")


def _postgres_due(storage: Any, now: datetime.datetime) -> float | None:
    return _sql_due(storage, now, storage.table_schedule, "%s")


def _sql(storage: Any, since: Since, table: str, mark: str) -> float | None:
    """Ask for the first of each priority, by the index that dequeue uses."""
    oldest: int | None = None
    below: tuple[float, ...] = ()
    for _ in range(_MOST_PRIORITIES):
        further = f" and priority < {mark}" if below else ""
        found = storage.sql(
            f"select priority, id from {table} where queue = {mark}{further}"  # noqa: S608
            " order by priority desc, id limit 1",
            (storage.name, *below),
            results=True,
        )
        if not found:
            break
        priority, number = found[0]
        below = (priority,)
        oldest = number if oldest is None else min(oldest, number)
    else:
        return None
    if oldest is None:
        return None
    found = storage.sql(
        f"select data from {table} where id = {mark} and length(data) <= {mark}",  # noqa: S608
        (oldest, LARGEST_READ),
        results=True,
    )
    return since(bytes(found[0][0])) if found else None


def _sql_due(
    storage: Any, now: datetime.datetime, table: str, mark: str
) -> float | None:
    found = storage.sql(
        f"select timestamp from {table} where queue = {mark}"  # noqa: S608
        " order by timestamp limit 1",
        (storage.name,),
        results=True,
    )
    return now.timestamp() - float(found[0][0]) if found else None


def _peewee(storage: Any, since: Since) -> float | None:
    task = storage.Task
    first = storage.tasks(task.priority, task.id).order_by(
        task.priority.desc(), task.id
    )
    oldest: int | None = None
    query = first
    for _ in range(_MOST_PRIORITIES):
        found = query.limit(1).tuples().first()
        if found is None:
            break
        oldest = found[1] if oldest is None else min(oldest, found[1])
        query = first.where(task.priority < found[0])
    else:
        return None
    if oldest is None:
        return None
    from peewee import fn

    small = fn.LENGTH(task.data) <= LARGEST_READ
    message = task.select(task.data).where(task.id == oldest, small).first()
    return None if message is None else since(message.data)


def _peewee_due(storage: Any, now: datetime.datetime) -> float | None:
    when = storage.Schedule.timestamp
    found = storage.schedule(when).order_by(when).limit(1).tuples().first()
    return None if found is None else (now - found[0]).total_seconds()


_HUEYS: Final = "huey.storage."
_GLIDES: Final = "huey.contrib.valkey_glide.ValkeyGlideStorage"
_PEEWEES: Final = "huey.contrib.sql_huey.SqlStorage"

_OLDEST: Final[list[tuple[str, Oldest]]] = [
    (f"{_HUEYS}RedisStorage", _redis_list),
    (f"{_HUEYS}RedisPriorityQueue", _redis_sorted_set),
    (_GLIDES, _redis_list),
    (f"{_HUEYS}MemoryStorage", _memory),
    (f"{_HUEYS}SqliteStorage", _sqlite),
    (f"{_HUEYS}PostgresStorage", _postgres),
    (f"{_HUEYS}FileStorage", _file),
    (_PEEWEES, _peewee),
]
_DUE: Final[list[tuple[str, Due]]] = [
    (f"{_HUEYS}RedisStorage", _redis_due),
    (_GLIDES, _redis_due),
    (f"{_HUEYS}MemoryStorage", _memory_due),
    (f"{_HUEYS}SqliteStorage", _sqlite_due),
    (f"{_HUEYS}PostgresStorage", _postgres_due),
    (f"{_HUEYS}FileStorage", _file_due),
    (_PEEWEES, _peewee_due),
]
# RedisExpireStorage goes through all keys of the database, FileStorage all files.
_RESULTS: Final[list[tuple[str, bool]]] = [
    (f"{_HUEYS}{kind}Storage", True)
    for kind in ("Redis", "Memory", "BlackHole", "Sqlite", "Postgres")
] + [(_PEEWEES, True)]
