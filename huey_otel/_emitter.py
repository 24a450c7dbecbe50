"""Where events are published: a Redis, by whichever way it was named, and a channel."""

import inspect
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from huey_otel import _names as n
from huey_otel._redaction import shown

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis
    from redis.connection import AbstractConnection

_TIMEOUT: Final = 2.0

# redis-py 8 puts what belongs to its pool among the settings of a connection.
_THE_POOLS_OWN: Final = ("maint_notifications_", "oss_cluster_", "orig_", "himport_")


class RedisEventEmitter:
    """Publishes events on a Redis channel of your choice; give it to `instrument`.

    One of *url*, *client* and *connection_pool* says which Redis; only its
    connection settings are taken, never a connection of its pool. *channel*
    None is the queue's name. Raises TypeError or ValueError at once for what
    cannot be a Redis.
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
            self._pool = _pool_of_url(url)
        elif client is not None:
            self._pool = _pool_of(client, "connection_pool", f"client={shown(client)}")
        else:
            self._pool = _checked(
                connection_pool, f"connection_pool={shown(connection_pool)}"
            )

    @property
    def address(self) -> str:
        """The server, for people: no password, no user."""
        settings = self._pool.connection_kwargs
        if settings.get("path"):
            return f"unix://{settings['path']}"
        service = getattr(self._pool, "service_name", None)
        if service and not settings.get("host"):
            # A sentinel pool has that in place of an address.
            return f"redis service {service}"
        # What is not said is as redis-py has it.
        host, port = settings.get("host"), settings.get("port")
        return f"redis://{host or 'localhost'}:{port or 6379}"

    def hasty_client(self) -> "Redis":
        """A client of its own that gives up after 2 s, as `connection` does."""
        from redis import ConnectionPool, Redis

        return Redis(
            connection_pool=ConnectionPool(
                self._pool.connection_class, **self._hasty_settings()
            )
        )

    def client(self) -> "Redis":
        """A client of its own with the same settings, for a listener."""
        from redis import ConnectionPool, Redis

        settings = self._settings()
        # A subscription is silent for hours: ask now and then whether it lives.
        settings["health_check_interval"] = settings.get("health_check_interval") or 30
        # Events are bytes, and so is what is none.
        settings["decode_responses"] = False
        return Redis(
            connection_pool=ConnectionPool(self._pool.connection_class, **settings)
        )

    def connection(self) -> "AbstractConnection":
        """A new connection that is nobody else's, not yet connected.

        Timeouts of 2 s, no retries: whoever publishes decides what to do.
        """
        connection: Any = self._pool.connection_class(**self._hasty_settings())
        # redis-py 5.0 drops the timeout of a unix socket on its way.
        connection.socket_timeout = _TIMEOUT
        return cast("AbstractConnection", connection)

    def _hasty_settings(self) -> dict[str, Any]:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings = self._settings()
        settings.update(
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            client_name=n.REDIS_CLIENT_NAME,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            health_check_interval=0,
            decode_responses=False,
            protocol=2,
        )
        settings.pop("retry_on_timeout", None)
        if settings.get("path"):
            # A unix socket connects at once or not at all.
            settings.pop("socket_connect_timeout")
        return settings

    def _settings(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in self._pool.connection_kwargs.items()
            if not key.startswith(_THE_POOLS_OWN)
        }

    def __repr__(self) -> str:
        return f"<RedisEventEmitter {self.address} channel={self.channel!r}>"


def checked_channel(channel: object) -> str:
    """*channel* if it can be one; TypeError or ValueError if not."""
    expected = "expected the name of a channel, a non-empty str"
    if not isinstance(channel, str):
        raise TypeError(f"channel={channel!r}: {expected}")
    if not channel:
        raise ValueError(f"channel={channel!r}: {expected}")
    return channel


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
    if "@" in url or "pass" in url.lower() or "***" in shown(url):
        return ""
    return f" ({error})"


def _pool_of(thing: object, attribute: str, shown: str) -> "ConnectionPool":
    return _checked(getattr(thing, attribute, None), shown)


def _checked(pool: Any, shown: str) -> "ConnectionPool":
    if not hasattr(pool, "connection_class") or not hasattr(pool, "connection_kwargs"):
        raise TypeError(
            f"{shown}: expected redis.Redis for client=,"
            " redis.ConnectionPool for connection_pool="
        )
    return pool  # type: ignore[no-any-return]  # known by its attributes, of any package


def of_storage(storage: object) -> RedisEventEmitter | None:
    """An emitter with the settings of a Redis *storage*, None for any other."""
    # SQLite's and Postgres' storages open a connection when theirs is asked for.
    connection = inspect.getattr_static(storage, "conn", None)
    pool = getattr(connection, "connection_pool", None)
    if hasattr(pool, "connection_class") and hasattr(pool, "connection_kwargs"):
        return RedisEventEmitter(connection_pool=pool)
    return None
