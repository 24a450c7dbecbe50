"""Layouts: how huey's own storages keep messages, and what is cheap to ask of each.

A storage is known by its methods, so a subclass that keeps messages in another way
is not mistaken for its base. No answer reads more than one message; of a Redis that
runs no scripts, one for each priority, since its plain commands answer with them.
"""

import datetime
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

from huey.storage import SqliteStorage

LARGEST_READ: Final = 1_048_576
"""Bytes of the largest message that is read to learn how old it is.

A Redis that runs no scripts sends a larger one as well, which is dropped then.
"""

_MOST_PRIORITIES: Final = 64
"""A queue with messages of more priorities is not asked which one is the oldest."""

Since = Callable[[bytes], float | None]
"""When a message was put on the queue, or due; None if it does not say."""

Oldest = Callable[[Any, Since], float | None]
"""Since when the oldest message of a storage's queue waits, in Unix seconds."""

Due = Callable[[Any, datetime.datetime], float | None]
"""For how many seconds the first message of the schedule is due, at a naive now."""


class _Layout(NamedTuple):
    """How to ask a class of storages, by its path, and all that inherit its methods."""

    path: str
    oldest: Oldest | None = None
    due: Due | None = None
    counts_results: bool = False


def oldest_of(storage: Any) -> Oldest | None:
    """How to ask *storage* for its oldest message, None if that is not known."""
    ways = (layout.oldest for layout in _layouts(storage, "enqueue"))
    return next(filter(None, ways), None)


def due_of(storage: Any) -> Due | None:
    """How to ask *storage* for what is due on its schedule, None if not known."""
    ways = (layout.due for layout in _layouts(storage, "add_to_schedule"))
    return next(filter(None, ways), None)


def counts_results(storage: Any) -> bool:
    """Whether the number of results costs *storage* no look at each of them."""
    layouts = _layouts(storage, "result_store_size")
    return any(layout.counts_results for layout in layouts)


def _layouts(storage: Any, method: str) -> Iterator[_Layout]:
    """The layouts of the classes whose *method* is that of *storage*."""
    own = getattr(type(storage), method, None)
    for layout in _LAYOUTS:
        module, _, name = layout.path.rpartition(".")
        # No storage can be of a module that is not imported.
        kind = getattr(sys.modules.get(module), name, None)
        if own is not None and own is getattr(kind, method, None):
            yield layout


def _oldest_of_priorities(
    first: Callable[[Any], tuple[Any, Any] | None],
) -> Any:
    """The least of what *first* returns for each priority; None if there are too many.

    *first* takes a priority, or None for the first one, and returns the next one and
    when its first message was enqueued.
    """
    priority = oldest = None
    for _ in range(_MOST_PRIORITIES):
        found = first(priority)
        if found is None:
            return oldest
        priority, enqueued = found
        oldest = enqueued if oldest is None else min(oldest, enqueued)
    return None


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


def _redis_list(storage: Any, since: Since) -> float | None:
    def plainly() -> Any:
        message = storage.conn.lindex(storage.queue_key, -1)
        return message if message and len(message) <= LARGEST_READ else None

    message = _scripted(
        storage.conn, _LIST_OLDEST, storage.queue_key, LARGEST_READ, plainly=plainly
    )
    return since(message) if message else None


def _redis_sorted_set(storage: Any, _: Since) -> float | None:
    def first(priority: float | None) -> tuple[float, bytes] | None:
        above = "-inf" if priority is None else f"({priority!r}"
        found = storage.conn.zrangebyscore(
            storage.queue_key, above, "+inf", start=0, num=1, withscores=True
        )
        return (found[0][1], found[0][0][:8]) if found else None

    enqueued = _scripted(
        *(storage.conn, _SORTED_SET_OLDEST, storage.queue_key, _MOST_PRIORITIES),
        plainly=lambda: _oldest_of_priorities(first),
    )
    return int.from_bytes(enqueued) / 1e6 if enqueued else None


def _redis_due(storage: Any, now: datetime.datetime) -> float | None:
    def plainly() -> float | None:
        found = storage.conn.zrange(storage.schedule_key, 0, 0, withscores=True)
        return found[0][1] if found else None

    score = _scripted(storage.conn, _FIRST_SCORE, storage.schedule_key, plainly=plainly)
    return None if score is None else storage.convert_ts(now) - float(score)


# Clients of a Redis that has refused to run a script.
_SCRIPTLESS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def ask_plainly(client: Any) -> None:
    """Send no script over *client*, whose user may not run any."""
    _SCRIPTLESS.add(client)


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
            # Plain commands work, so it is scripts that this server does not run.
            _SCRIPTLESS.add(client)
            return answer
    return plainly()


def _memory(storage: Any, since: Since) -> float | None:
    # A copy, which nothing interrupts: other threads push and pop meanwhile.
    queue = list(storage._queue)  # noqa: SLF001 - there is no other way
    return since(min(queue, key=itemgetter(1))[2]) if queue else None


def _memory_due(storage: Any, now: datetime.datetime) -> float | None:
    schedule = list(storage._schedule[:1])  # noqa: SLF001 - there is no other way
    return (now - schedule[0][0]).total_seconds() if schedule else None


def _file(storage: Any, _: Since) -> float | None:
    # <priority>-<milliseconds>, hexadecimal.
    began = [int(name[5:17], 16) for name in _files_in(storage.queue_path)]
    return min(began) / 1000 if began else None


def _file_due(storage: Any, now: datetime.datetime) -> float | None:
    first = min(_files_in(storage.schedule_path), default=None)
    return None if first is None else now.timestamp() - int(first[:12], 16) / 1000


def _files_in(path: str) -> Iterator[str]:
    if os.path.exists(path):  # noqa: PTH110 - as the storage does
        yield from (name for name in os.listdir(path) if name[-4:] != ".tmp")  # noqa: PTH208


def _dialect(storage: Any) -> tuple[str, str, str]:
    """The tables of the queue and of the schedule, and the mark of a parameter."""
    if isinstance(storage, SqliteStorage):
        return "task", "schedule", "?"
    return storage.table_task, storage.table_schedule, "%s"


def _sql(storage: Any, since: Since) -> float | None:
    """Ask for the first of each priority, by the index that dequeue uses."""
    table, _, mark = _dialect(storage)

    def first(priority: float | None) -> tuple[float, int] | None:
        below = "" if priority is None else f" and priority < {mark}"
        found = storage.sql(
            f"select priority, id from {table} where queue = {mark}{below}"  # noqa: S608
            " order by priority desc, id limit 1",
            (storage.name,) if priority is None else (storage.name, priority),
            results=True,
        )
        return found[0] if found else None

    oldest = _oldest_of_priorities(first)
    if oldest is None:
        return None
    found = storage.sql(
        f"select data from {table} where id = {mark} and length(data) <= {mark}",  # noqa: S608
        (oldest, LARGEST_READ),
        results=True,
    )
    return since(bytes(found[0][0])) if found else None


def _sql_due(storage: Any, now: datetime.datetime) -> float | None:
    _, table, mark = _dialect(storage)
    found = storage.sql(
        f"select timestamp from {table} where queue = {mark}"  # noqa: S608
        " order by timestamp limit 1",
        (storage.name,),
        results=True,
    )
    return now.timestamp() - float(found[0][0]) if found else None


def _peewee(storage: Any, since: Since) -> float | None:
    from peewee import fn

    task = storage.Task
    ordered = storage.tasks(task.priority, task.id).order_by(
        task.priority.desc(), task.id
    )

    def first(priority: float | None) -> tuple[float, int] | None:
        query = ordered if priority is None else ordered.where(task.priority < priority)
        found: tuple[float, int] | None = query.limit(1).tuples().first()
        return found

    oldest = _oldest_of_priorities(first)
    if oldest is None:
        return None
    small = fn.LENGTH(task.data) <= LARGEST_READ
    message = task.select(task.data).where(task.id == oldest, small).first()
    return None if message is None else since(message.data)


def _peewee_due(storage: Any, now: datetime.datetime) -> float | None:
    when = storage.Schedule.timestamp
    found = storage.schedule(when).order_by(when).limit(1).tuples().first()
    return None if found is None else (now - found[0]).total_seconds()


_HUEY: Final = "huey.storage."
_LAYOUTS: Final = (
    # RedisExpireStorage goes through all keys of the database to count its results.
    _Layout(f"{_HUEY}RedisStorage", _redis_list, _redis_due, counts_results=True),
    _Layout(f"{_HUEY}RedisPriorityQueue", _redis_sorted_set),
    _Layout("huey.contrib.valkey_glide.ValkeyGlideStorage", _redis_list, _redis_due),
    _Layout(f"{_HUEY}MemoryStorage", _memory, _memory_due, counts_results=True),
    _Layout(f"{_HUEY}BlackHoleStorage", counts_results=True),
    _Layout(f"{_HUEY}SqliteStorage", _sql, _sql_due, counts_results=True),
    _Layout(f"{_HUEY}PostgresStorage", _sql, _sql_due, counts_results=True),
    # It lists all files of its results to count them.
    _Layout(f"{_HUEY}FileStorage", _file, _file_due),
    _Layout(
        "huey.contrib.sql_huey.SqlStorage", _peewee, _peewee_due, counts_results=True
    ),
)
