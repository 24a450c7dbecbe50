"""The spellings of a queue's name in the keys of its Redis, which differ by huey."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huey.storage import RedisStorage
    from redis import Redis

_KEYS = ("huey.redis.", "huey.schedule.", "huey.results.")


def spellings(queue: str) -> tuple[str, ...]:
    """What huey 3 and huey 2 make of the name *queue*, and the name itself.

    In that order, each once. huey 3.4 takes the name itself with `clean_name=False`.
    A spelling that leaves no character is left out: all such queues share its keys.
    """
    cleaned = (re.sub("[^A-Za-z0-9_]", "", queue), re.sub("[^a-z0-9]", "", queue))
    return tuple(dict.fromkeys(name for name in (*cleaned, queue) if name))


def keys_of(spelling: str) -> tuple[str, ...]:
    """The keys of what waits, what is scheduled, and results; absent while empty."""
    return tuple(prefix + spelling for prefix in _KEYS)


def storage_spelled(name: str, client: "Redis", *, sorted_set: bool) -> "RedisStorage":
    """A storage of huey's own that asks *client* for the queue that is spelled *name*.

    Its queue is a list, or a *sorted_set*; where its results are is not known.
    """
    # For the spellings alone huey need not be imported.
    from huey.storage import PriorityRedisStorage, RedisStorage

    kind = PriorityRedisStorage if sorted_set else RedisStorage
    # Its own __init__ makes a connection, and a spelling of the name.
    storage: RedisStorage = kind.__new__(kind)
    storage.conn, storage.name = client, name
    storage.queue_key, storage.schedule_key, storage.result_key = keys_of(name)
    return storage
