"""Connections: all of ours to a Redis, made out of the application's own pool.

Each is made by a copy of that pool, so whatever finds, secures and names the server
is as the application has it: Sentinel, TLS, credentials, a class of its own, a unix
socket. None is ever taken from the pool itself.
"""

import copy
import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from huey_otel import _names as n
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import is_the_applications
from huey_otel._storage.courtesies import TIMEOUT, Courtesies

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis
    from redis.connection import AbstractConnection

# redis-py 8 puts what belongs to its pool among the settings of a connection.
_THE_POOLS_OWN: Final = ("maint_notifications_", "oss_cluster_", "orig_", "himport_")

_LEVELS: Final = 3
"""How deep settings without an equality of their own are compared."""

_OF_A_POOL: Final = ("connection_class", "connection_kwargs", "make_connection")

Met = Callable[["AbstractConnection"], None]
"""What is called with each connection once it is there, before it is used."""


def is_pool(thing: object) -> bool:
    """Whether *thing* is a connection pool, of redis-py or made like it."""
    if not all(hasattr(thing, name) for name in _OF_A_POOL):
        return False
    connect = getattr(_kind_of(thing), "connect", None)
    return _is_of_redis_py(thing) and not inspect.iscoroutinefunction(connect)


class Connections:
    """Makes connections to the Redis that *pool* leads to."""

    def __init__(self, pool: "ConnectionPool") -> None:
        self._pool = pool
        self.courtesies = Courtesies()
        # A server that refuses to call us by our name once, is not asked again.
        self._named = True

    @property
    def address(self) -> str:
        """The server, for people: no password, no user."""
        settings = self._pool.connection_kwargs
        if settings.get("path"):
            return f"unix://{settings['path']}"
        kinds = getattr(_kind_of(self._pool), "__mro__", ())
        scheme = "rediss" if "SSLConnection" in (k.__name__ for k in kinds) else "redis"
        service = getattr(self._pool, "service_name", None)
        if service and not settings.get("host"):
            # A sentinel pool has that in place of an address.
            return f"{scheme} service {service}"
        # What is not said is as redis-py has it.
        host, port = settings.get("host"), settings.get("port")
        host = f"[{host}]" if ":" in str(host) else host or "localhost"
        return f"{scheme}://{host}:{port or 6379}"

    def are_like(self, other: "Connections") -> bool:
        """Whether *other* makes connections of the same class and settings."""
        ours, theirs = self._pool, other._pool  # noqa: SLF001 - of its own class
        return ours is theirs or (
            type(ours) is type(theirs)
            and ours.connection_class is theirs.connection_class
            and _are_like(_identity_of(ours), _identity_of(theirs))
        )

    def to_publish(self) -> "AbstractConnection":
        """A new connection of the caller's own, not yet connected.

        Timeouts of 2 s, no retries: the caller decides what to do after a failure.
        """
        settings = self._for_events(self._hasty())
        # The pool that makes it is gone at once, and the connection stays.
        made: Any = self._copied(settings, self._tuned).make_connection()
        return cast("AbstractConnection", made)

    def to_ask(self, client: "Redis | None" = None) -> "Redis":
        """A copy of *client*, or a plain one, that gives up after 2 s.

        A client that is more than a Redis, as one that wraps another, is not copied.
        """
        from redis import Redis

        def tuned(connection: Any) -> None:
            self._tuned(connection, database_matters=True)

        pool = self._copied(self._hasty(), tuned)
        if client is None or not _can_be_copied(client):
            return Redis(connection_pool=pool)
        # One of a class of its own may see keys under other names.
        asking = copy.copy(client)
        asking.connection_pool, asking.connection = pool, None
        return asking

    def to_listen(self, met: Met, *, hasty: bool = False) -> "ConnectionPool":
        """A pool for a subscription, which is silent for hours.

        Its patience is the application's, or where *hasty* one try of 2 s. *met* is
        called with each connection before it subscribes.
        """
        settings = self._for_events(self._hasty() if hasty else self._settings())
        # redis-py's check is a PING, which not every server knows.
        settings["health_check_interval"] = 0

        def tuned(connection: Any) -> None:
            self._after_handshake(connection, met, name=connection.client_name)
            _read_for_subscriptions(connection)

        return self._copied(settings, tuned)

    def _copied(
        self, settings: dict[str, Any], tuned: Callable[[Any], None]
    ) -> "ConnectionPool":
        """A copy of the pool that makes connections of *settings*, each *tuned*."""
        pool: Any = self._pool
        made_by = pool.connection_class

        def connection_class(**settings: Any) -> Any:
            connection = _or_away(lambda: made_by(**settings))
            tuned(connection)
            connect = connection.connect
            connection.connect = lambda: _or_away(connect)
            return connection

        own = copy.copy(pool)
        state = vars(own)
        for name in ("_lock", "_fork_lock"):
            if name in state:
                state[name] = threading.RLock()
        for name in ("_available_connections", "_in_use_connections", "_connections"):
            state.pop(name, None)
        for name in ("get_connection", "release"):
            # An instrumentation may have set wrappers on the pool: they would call
            # the methods of that pool, not of the copy.
            state.pop(name, None)
        for name in _OF_REDIS_8:
            if name in state:
                state[name] = None
        own.connection_class = connection_class
        own.connection_kwargs = settings
        if getattr(pool, "sentinel_manager", None) is not None:
            _ask_sentinels_apart(own)
        own.reset()
        return cast("ConnectionPool", own)

    def _tuned(self, connection: Any, *, database_matters: bool = False) -> None:
        # redis-py 5.0 drops the timeout of a unix socket on its way.
        connection.socket_timeout = TIMEOUT
        self._after_handshake(
            connection,
            self._introduce,
            name=None,
            database_matters=database_matters,
        )

    def _introduce(self, connection: "AbstractConnection") -> None:
        """Tell *connection*'s server whose it is, if it takes that."""
        if self._named and self.courtesies.takes("CLIENT"):
            name = ("CLIENT", "SETNAME", n.REDIS_CLIENT_NAME)
            self._named = self.courtesies.offer(connection, *name) is not None

    def _after_handshake(
        self,
        connection: Any,
        met: Met,
        *,
        name: str | None,
        database_matters: bool = False,
    ) -> None:
        """Have *connection* do without what its server does not take, then call *met*.

        redis-py ends a handshake in which CLIENT SETNAME or SELECT is refused. Pub/sub
        knows no databases, so only where *database_matters* a refusal of it counts.
        """
        theirs = connection.redis_connect_func
        database = connection.db
        connection.client_name = None
        if not (database_matters and int(database or 0)):
            connection.db = 0

        def connected(connection: Any) -> None:
            if theirs is not None:
                theirs(connection)
            else:
                # redis-py 8 itself calls the first, and classes of others have none.
                shake = getattr(connection, "on_connect_check_health", None)
                (shake or connection.on_connect)()
            if database and not connection.db:
                self.courtesies.offer(connection, "SELECT", database)
            if name:
                self.courtesies.offer(connection, "CLIENT", "SETNAME", name)
            met(connection)

        connection.redis_connect_func = connected

    def _hasty(self) -> dict[str, Any]:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings = self._settings()
        settings.update(
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            health_check_interval=0,
            decode_responses=False,
        )
        settings.pop("retry_on_timeout", None)
        if settings.get("path"):
            # A unix socket connects at once or not at all.
            settings.pop("socket_connect_timeout")
        return settings

    def _settings(self) -> dict[str, Any]:
        return _settings_of(self._pool)

    @staticmethod
    def _for_events(settings: dict[str, Any]) -> dict[str, Any]:
        """*settings* with what events need: bytes, UTF-8, and no HELLO before."""
        return {
            **settings,
            "protocol": 2,
            "decode_responses": False,
            "encoding": "utf-8",
            "encoding_errors": "strict",
        }


def _settings_of(pool: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in pool.connection_kwargs.items()
        if not key.startswith(_THE_POOLS_OWN)
    }


def _identity_of(pool: Any) -> dict[str, Any]:
    """What *pool* connects to, and how, without what refers to *pool* itself."""
    identity = _settings_of(pool)
    manager = getattr(pool, "sentinel_manager", None)
    if manager is not None:
        del identity["connection_pool"]
        identity["service"] = pool.service_name, pool.is_master
        for number, sentinel in enumerate(manager.sentinels):
            for key, value in _settings_of(sentinel.connection_pool).items():
                identity[f"sentinel {number} {key}"] = value
    return identity


def _is_like(one: object, other: object, levels: int) -> bool:
    """Whether both are equal, or hold what is, where their class has no equality.

    A Backoff of redis-py 5.0 has none, nor has a provider of credentials.
    """
    if one == other:
        return True
    kind = type(one)
    if (
        kind is not type(other)
        or kind.__eq__ is not object.__eq__
        or isinstance(one, type)
    ):
        return False
    return not levels or _are_like(_held_by(one), _held_by(other), levels - 1)


def _are_like(
    ours: dict[str, Any], theirs: dict[str, Any], levels: int = _LEVELS
) -> bool:
    return ours.keys() == theirs.keys() and all(
        _is_like(value, theirs[key], levels) for key, value in ours.items()
    )


def _held_by(thing: object) -> dict[str, Any]:
    return getattr(thing, "__dict__", {})


_OF_REDIS_8: Final = (
    *("cache", "_maint_notifications_pool_handler"),
    "_oss_cluster_maint_notifications_handler",
)


def _or_away(make: Callable[[], Any]) -> Any:
    """What *make* returns; a ConnectionError where code of others raises what it likes.

    A provider of credentials, say, that has none now: those who wait for a server
    that is away, wait for that.
    """
    from redis.exceptions import ConnectionError as BrokenError
    from redis.exceptions import RedisError

    try:
        return make()
    except (RedisError, OSError):
        raise
    except Exception as error:
        if is_the_applications(error):
            raise
        raise BrokenError(f"{class_name(error)}: {message(error)}") from error


def _kind_of(pool: Any) -> Any:
    """The class of the connections of *pool*, or the factory that hides it."""
    made_by = pool.connection_class
    while isinstance(made_by, functools.partial):
        made_by = made_by.func
    return made_by


def _is_of_redis_py(pool: Any) -> bool:
    """Whether *pool* or its connections are redis-py's, also by inheritance.

    A fork of redis-py, as valkey-py, raises exceptions that this package does not
    catch.
    """
    kinds = (type(pool), _kind_of(pool))
    return any(
        base.__module__.partition(".")[0] == "redis"
        for kind in kinds
        for base in getattr(kind, "__mro__", ())
    )


def _can_be_copied(client: object) -> bool:
    """Whether a copy of *client* has attributes of its own, and asks by them."""
    from redis import Redis

    kind = type(client)
    return (
        issubclass(kind, Redis)
        and kind.__setattr__ is object.__setattr__
        and kind.__getattribute__ is object.__getattribute__
        and "connection_pool" in vars(client)
        and not hasattr(kind, "connection_pool")
        and not any(isinstance(value, Redis) for value in vars(client).values())
    )


def _read_for_subscriptions(connection: Any) -> None:
    """Let *connection* take what redis-py's PubSub asks of it.

    That of a Sentinel's pool does not in redis-py 5.0.0, nor need one of others.
    """
    read = connection.read_response
    parameters = inspect.signature(read).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if "push_request" in parameters or inspect.Parameter.VAR_KEYWORD in kinds:
        return

    def read_response(*arguments: Any, push_request: bool = False, **named: Any) -> Any:
        del push_request
        return read(*arguments, **named)

    connection.read_response = read_response


def _ask_sentinels_apart(pool: Any) -> None:
    """Let *pool*, a copy, find its server by connections of our own as well."""
    manager = copy.copy(pool.sentinel_manager)
    manager.sentinels = [
        Connections(sentinel.connection_pool).to_ask(sentinel)
        for sentinel in manager.sentinels
    ]
    proxy = copy.copy(pool.proxy)
    proxy.sentinel_manager = manager
    # Finding a new master hangs up on the pool's connections: on ours, if on any.
    proxy.connection_pool_ref = lambda: None
    # Its PING is not what every server knows; the next answer says as much.
    proxy.check_connection = False
    pool.sentinel_manager, pool.proxy = manager, proxy
    pool.connection_kwargs["connection_pool"] = proxy
