"""Where events are published: a Redis, by whichever way it was named, and a channel."""

import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huey_otel._safety.redaction import shown
from huey_otel._storage import glide
from huey_otel._storage.channels import checked_channel
from huey_otel._storage.connections import Connections, is_pool

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis


class RedisEventEmitter:
    """Publishes events on a Redis channel of your choice; give it to `instrument`.

    One of *url*, *client* and *connection_pool* says which Redis; only its
    connection settings are taken, never a connection of its pool. *channel*
    None is that of the queue. `connections` makes those that are used. Raises
    TypeError or ValueError at once for what cannot be a Redis.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        client: "Redis | None" = None,
        connection_pool: "ConnectionPool | None" = None,
        channel: str | None = None,
    ) -> None:
        given = [way for way in (url, client, connection_pool) if way is not None]
        if len(given) != 1:
            raise TypeError(
                "RedisEventEmitter takes exactly one of url=, client= and"
                f" connection_pool=, {len(given)} were given"
            )
        self.channel = None if channel is None else checked_channel(channel)
        if url is not None:
            pool = _pool_of_url(url)
        elif client is not None:
            pool = _checked(getattr(client, "connection_pool", None), client=client)
        else:
            pool = _checked(connection_pool, connection_pool=connection_pool)
        self.connections = Connections(pool)

    @property
    def address(self) -> str:
        """The server, for people: no password, no user."""
        return self.connections.address

    def __eq__(self, other: object) -> bool:
        """Whether *other* publishes on the same channel of the same Redis, as this."""
        return (
            isinstance(other, RedisEventEmitter)
            and self.channel == other.channel
            and self.connections.are_like(other.connections)
        )

    __hash__ = None  # type: ignore[assignment]  # its settings may hold what has none

    def __repr__(self) -> str:
        return f"<RedisEventEmitter {self.address} channel={self.channel!r}>"


def _pool_of_url(url: str) -> "ConnectionPool":
    from redis import ConnectionPool, RedisError

    accepted = "expected a Redis URL: redis://, rediss:// or unix://"
    if not isinstance(url, str):
        raise TypeError(f"url={shown(url)}: {accepted}")
    try:
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if (
            parts.scheme in ("redis", "rediss")
            and database
            and not database.isdecimal()
        ):
            raise ValueError(f"{database!r} is no database number")
        pool = ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError) as error:
        raise ValueError(f"url={shown(url)}: {accepted}{_reason(error, url)}") from None
    return pool


def _reason(error: Exception, url: str) -> str:
    """What is wrong with *url*, unless that may quote a password of it."""
    quotes_nothing = str(error).startswith("Port out of range")
    hides = "@" in url or "pass" in url.lower() or "***" in shown(url)
    if hides and not quotes_nothing:
        return ""
    return f" ({error})"


def _checked(pool: Any, **given: object) -> "ConnectionPool":
    if not is_pool(pool):
        # Only now: not every pool that works can be shown.
        ((name, value),) = given.items()
        raise TypeError(
            f"{name}={shown(value)}: expected redis.Redis for client=,"
            " redis.ConnectionPool for connection_pool="
        )
    return pool  # type: ignore[no-any-return]  # known by its attributes, of any package


def of_storage(storage: object) -> RedisEventEmitter | None:
    """An emitter to the Redis of *storage*, None if it has none that we can reach."""
    # SQLite's and Postgres' storages open a connection when theirs is asked for.
    client = inspect.getattr_static(storage, "conn", None)
    pool = glide.pool_of(client) if glide.is_glide(client) else None
    pool = pool or getattr(client, "connection_pool", None)
    return RedisEventEmitter(connection_pool=pool) if is_pool(pool) else None
