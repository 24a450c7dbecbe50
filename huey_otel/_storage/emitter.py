"""Where events are published: a Redis, however it was named, and a channel."""

import inspect
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huey_otel._options.values import CHANNEL_NAME
from huey_otel._safety import encodable
from huey_otel._safety.redaction import shown
from huey_otel._storage.connections import Connections, is_pool

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis


class RedisEventEmitter:
    """Publishes events on a Redis channel of your choice. Give it to `instrument`.

    One of *url*, *client* and *connection_pool* names the Redis. Only its settings are
    used, never a connection of it. *channel* None means the queue's own. Raises
    TypeError or ValueError for a value that cannot be a Redis.
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
        self.channel = channel
        if channel is not None:
            CHANNEL_NAME.checked(channel, f"channel={channel!r}")
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
        """Whether *other* publishes on the same channel of the same Redis."""
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
    """What is wrong with *url*; empty if that may quote its password."""
    quotes_nothing = str(error).startswith("Port out of range")
    hides = "@" in url or "pass" in url.lower() or "***" in shown(url)
    if hides and not quotes_nothing:
        return ""
    return f" ({error})"


def _checked(pool: Any, **given: object) -> "ConnectionPool":
    if not is_pool(pool):
        # Only here: not every pool that works has a repr.
        ((name, value),) = given.items()
        raise TypeError(
            f"{name}={shown(value)}: expected redis.Redis for client=,"
            " redis.ConnectionPool for connection_pool="
        )
    return pool  # type: ignore[no-any-return]  # known by its attributes, of any package


def of_storage(storage: object) -> RedisEventEmitter | None:
    """An emitter to the Redis of *storage*, None if there is none in our reach."""
    # SQLite's and Postgres' storages open a connection when theirs is asked for.
    client = inspect.getattr_static(storage, "conn", None)
    pool = _pool_of_glide(client) or getattr(client, "connection_pool", None)
    return RedisEventEmitter(connection_pool=pool) if is_pool(pool) else None


def _pool_of_glide(client: Any) -> "ConnectionPool | None":
    """A pool to the first address of *client*; None if that is no GlideClient.

    Also None where GLIDE signs in or verifies in a way that redis-py does not know.
    """
    # No client can be of a module that is not imported.
    kind = getattr(sys.modules.get("glide_sync"), "GlideClient", None)
    if not isinstance(kind, type) or not isinstance(client, kind):
        return None
    from redis import ConnectionPool, SSLConnection, UnixDomainSocketConnection

    config = getattr(client, "_config", None)
    addresses = getattr(config, "addresses", None)
    if not addresses or getattr(config, "address_resolver", None) is not None:
        return None
    settings: dict[str, Any] = {"db": getattr(config, "database_id", None) or 0}
    credentials = getattr(config, "credentials", None)
    if credentials is not None:
        if getattr(credentials, "iam_config", None) is not None:
            return None
        settings["username"] = credentials.username
        settings["password"] = credentials.password
    path = getattr(addresses[0], "unix_socket_path", None)
    if path:
        return ConnectionPool(UnixDomainSocketConnection, path=str(path), **settings)
    settings.update(host=addresses[0].host, port=addresses[0].port)
    if not getattr(config, "use_tls", False):
        return ConnectionPool(**settings)
    tls = getattr(getattr(config, "advanced_config", None), "tls_config", None)
    if getattr(tls, "client_cert_pem", None) or getattr(tls, "client_cert_path", None):
        # redis-py takes certificates of a client as files, GLIDE has their bytes.
        return None
    if getattr(tls, "use_insecure_tls", False):
        settings.update(ssl_cert_reqs="none", ssl_check_hostname=False)
    elif getattr(tls, "root_pem_cacerts", None):
        settings["ssl_ca_data"] = bytes(tls.root_pem_cacerts).decode()  # type: ignore[union-attr]
    return ConnectionPool(connection_class=SSLConnection, **settings)


def channel_of(queue: str, storage: Any, given: str | None = None) -> str:
    """The channel of *queue* on *storage*: *given*, or the name that Redis knows it by.

    huey makes that name of the queue's for its keys. If nothing is left of it, or the
    storage is no Redis, the channel is named like the queue.
    """
    # A reader of events imports no huey.
    from huey.storage import RedisStorage

    name = storage.name if isinstance(storage, RedisStorage) else ""
    return _sendable(given or name or queue)


def _sendable(name: object) -> str:
    """*name*, for which huey takes any object, as a text that is not empty."""
    if isinstance(name, bytes):
        name = name.decode(errors="backslashreplace")
    if not isinstance(name, str):
        return encodable.name(name) or "huey"
    # A subclass of str, as an enum, may have a __str__ of its own.
    return encodable.text(str.__str__(name)) or "huey"
