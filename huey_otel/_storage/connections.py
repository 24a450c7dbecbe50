"""Connections: all of ours to a Redis, made out of the application's own pool.

Each is made by a copy of that pool, never taken from it: so Sentinel, TLS, credentials,
a class of its own and a unix socket are as the application has them.
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
from huey_otel._storage.optional_commands import TIMEOUT, OptionalCommands

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis
    from redis.connection import AbstractConnection

# redis-py 8 puts what belongs to its pool among the settings of a connection.
_POOL_SETTINGS: Final = ("maint_notifications_", "oss_cluster_", "orig_", "himport_")
_REDIS_8_ATTRIBUTES: Final = (
    *("cache", "_maint_notifications_pool_handler"),
    "_oss_cluster_maint_notifications_handler",
)

_FOR_EVENTS: Final = {
    # No HELLO, which not every server knows.
    "protocol": 2,
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
}

_LOCKS: Final = ("_lock", "_fork_lock")
_LEVELS: Final = 3
"""How deep settings without an equality of their own are compared."""

Connected = Callable[["AbstractConnection"], None]
"""Called with each new connection, before it is used."""


def is_pool(thing: object) -> bool:
    """Whether *thing* is a connection pool of redis-py, also by inheritance.

    A fork, such as valkey-py, raises exceptions that this package does not catch.
    """
    needed = ("connection_class", "connection_kwargs", "make_connection")
    if not all(hasattr(thing, name) for name in needed):
        return False
    kind = _connection_class(thing)
    bases = (*type(thing).__mro__, *getattr(kind, "__mro__", ()))
    return not inspect.iscoroutinefunction(getattr(kind, "connect", None)) and any(
        base.__module__.partition(".")[0] == "redis" for base in bases
    )


class Connections:
    """Makes connections to the Redis that *pool* leads to."""

    def __init__(self, pool: "ConnectionPool") -> None:
        self._pool = pool
        self.optional = OptionalCommands()
        # A server that has refused a name for our connection is not asked again.
        self._takes_names = True

    @property
    def address(self) -> str:
        """The server, for people: no password, no user."""
        settings = self._pool.connection_kwargs
        if settings.get("path"):
            return f"unix://{settings['path']}"
        bases = getattr(_connection_class(self._pool), "__mro__", ())
        is_tls = "SSLConnection" in (base.__name__ for base in bases)
        scheme = "rediss" if is_tls else "redis"
        service = getattr(self._pool, "service_name", None)
        if service and not settings.get("host"):
            # A sentinel pool has that in place of an address.
            return f"{scheme} service {service}"
        # redis-py's own defaults.
        host, port = settings.get("host"), settings.get("port")
        host = f"[{host}]" if ":" in str(host) else host or "localhost"
        return f"{scheme}://{host}:{port or 6379}"

    def are_like(self, other: "Connections") -> bool:
        """Whether *other* makes connections of the same class and settings."""
        ours, theirs = self._pool, other._pool  # noqa: SLF001 - of its own class
        return ours is theirs or (
            type(ours) is type(theirs)
            and ours.connection_class is theirs.connection_class
            and _are_alike(_identity_of(ours), _identity_of(theirs), _LEVELS)
        )

    def to_publish(self) -> "AbstractConnection":
        """A new connection of the caller's own, not yet connected.

        Timeouts of 2 s, no retries: the caller decides what to do after a failure.
        """
        return self._made(self._tune)

    def to_read(self) -> "AbstractConnection":
        """The same for what is in a database: a refused SELECT is an error."""
        return self._made(functools.partial(self._tune, database_matters=True))

    def _made(self, tune: Callable[[Any], None]) -> "AbstractConnection":
        settings = {**self._impatient(), **_FOR_EVENTS}
        # The pool that makes it is gone at once, and the connection stays.
        made: Any = self._copied(settings, tune).make_connection()
        return cast("AbstractConnection", made)

    def to_write(self) -> "AbstractConnection":
        """The same for keys, which are in the application's database."""
        tune = functools.partial(self._tune, database_matters=True)
        settings = {**self._impatient(), **_FOR_EVENTS}
        made: Any = self._copied(settings, tune).make_connection()
        return cast("AbstractConnection", made)

    def to_ask(self, client: "Redis | None" = None) -> "Redis":
        """A copy of *client*, or a plain one, that gives up after 2 s.

        A client that is more than a Redis, as one that wraps another, is not copied.
        """
        from redis import Redis

        tune = functools.partial(self._tune, database_matters=True)
        settings = self._impatient()
        if client is None:
            settings |= {"protocol": _FOR_EVENTS["protocol"]}
        pool = self._copied(settings, tune)
        if client is None or not _can_be_copied(client):
            return Redis(connection_pool=pool)
        # A client of a class of its own may see keys under other names.
        asking = copy.copy(client)
        asking.connection_pool, asking.connection = pool, None
        return asking

    def to_listen(
        self, connected: Connected, *, impatient: bool = False
    ) -> "ConnectionPool":
        """A pool for a subscription, which is silent for hours.

        Its timeouts and retries are the application's, or where *impatient* one try of
        2 s. *connected* is called with each connection before it subscribes.
        """
        settings = self._impatient() if impatient else _settings_of(self._pool)
        # redis-py's check is a PING, which not every server knows.
        settings |= {**_FOR_EVENTS, "health_check_interval": 0}

        def tune(connection: Any) -> None:
            self._after_handshake(connection, connected, name=connection.client_name)
            _accept_push_requests(connection)

        return self._copied(settings, tune)

    def _copied(
        self, settings: dict[str, Any], tune: Callable[[Any], None]
    ) -> "ConnectionPool":
        """A copy of the pool, with *settings*, that tunes each new connection."""
        pool: Any = self._pool
        made_by = pool.connection_class
        sentinels: list[Any] = []

        def connection_class(**settings: Any) -> Any:
            connection = _or_connection_error(lambda: made_by(**settings))
            tune(connection)
            connect = connection.connect

            def connect_as_told() -> None:
                try:
                    _or_connection_error(connect)
                finally:
                    # They have told the address. Who drops the connection knows
                    # nothing of these, and the garbage collector may not come for
                    # hours.
                    for sentinel in sentinels:
                        sentinel.connection_pool.disconnect(inuse_connections=False)

            connection.connect = connect_as_told
            return connection

        own = copy.copy(pool)
        _renew_locks(own)
        state = vars(own)
        for name in ("_available_connections", "_in_use_connections", "_connections"):
            state.pop(name, None)
        for name in ("get_connection", "release"):
            # A wrapper that another instrumentation has set on the pool would call
            # that pool's method, not the copy's.
            state.pop(name, None)
        for name in _REDIS_8_ATTRIBUTES:
            if name in state:
                state[name] = None
        own.connection_class = connection_class
        own.connection_kwargs = settings
        if getattr(pool, "sentinel_manager", None) is not None:
            _use_own_sentinels(own)
            sentinels += own.sentinel_manager.sentinels
        own.reset()
        return cast("ConnectionPool", own)

    def _tune(self, connection: Any, *, database_matters: bool = False) -> None:
        # redis-py 5.0 drops the timeout of a unix socket on its way.
        connection.socket_timeout = TIMEOUT
        self._after_handshake(
            connection, self._send_name, database_matters=database_matters
        )

    def _send_name(self, connection: "AbstractConnection") -> None:
        if self._takes_names and self.optional.accepts("CLIENT"):
            command = ("CLIENT", "SETNAME", n.REDIS_CLIENT_NAME)
            self._takes_names = self.optional.send(connection, *command) is not None

    def _after_handshake(
        self,
        connection: Any,
        connected: Connected,
        *,
        name: str | None = None,
        database_matters: bool = False,
    ) -> None:
        """Let *connection* connect where commands are refused, then call *connected*.

        redis-py ends a handshake in which CLIENT SETNAME or SELECT is refused. Pub/sub
        knows no databases, so only where *database_matters* a refusal of it counts.
        """
        own_handshake = connection.redis_connect_func
        database = connection.db
        connection.client_name = None
        if not (database_matters and int(database or 0)):
            connection.db = 0

        def handshake(connection: Any) -> None:
            if own_handshake is not None:
                own_handshake(connection)
            else:
                # redis-py 8 itself calls the first, and classes of others have none.
                shake = getattr(connection, "on_connect_check_health", None)
                (shake or connection.on_connect)()
            if database and not connection.db:
                self.optional.send(connection, "SELECT", database)
            if name:
                self.optional.send(connection, "CLIENT", "SETNAME", name)
            connected(connection)

        connection.redis_connect_func = handshake

    def _impatient(self) -> dict[str, Any]:
        """The pool's settings with timeouts of 2 s and no retries."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings = _settings_of(self._pool)
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


def free_in_child(storage: Any) -> None:
    """Give the pool of *storage* new locks: no thread of the child holds the old ones.

    redis-py 8 takes one to reset a pool after a fork, so a child hangs for ever if
    another thread had it then. Our own wait before a fork makes that likely: of 8
    consumers in which 40 tasks forked, 3 came to a halt, and none without us.
    """
    _renew_locks(getattr(storage, "__dict__", {}).get("pool"))


def _renew_locks(pool: Any) -> None:
    for name in _LOCKS:
        if hasattr(pool, name):
            setattr(pool, name, threading.RLock())


def _settings_of(pool: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in pool.connection_kwargs.items()
        if not key.startswith(_POOL_SETTINGS)
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


def _are_alike(one: object, other: object, levels: int) -> bool:
    """Whether both are equal, or have like attributes where their class has no __eq__.

    A Backoff of redis-py 5.0 has none, nor has a provider of credentials.
    """
    if one == other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _are_alike(value, other[key], levels) for key, value in one.items()
        )
    kind = type(one)
    if (
        kind is not type(other)
        or kind.__eq__ is not object.__eq__
        or isinstance(one, type)
    ):
        return False
    return not levels or _are_alike(_held_by(one), _held_by(other), levels - 1)


def _held_by(thing: object) -> dict[str, Any]:
    return getattr(thing, "__dict__", {})


def _or_connection_error(make: Callable[[], Any]) -> Any:
    """What *make* returns; a ConnectionError for what the application's code raises.

    So a provider of credentials that has none now is tried again, as a server is.
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


def _connection_class(pool: Any) -> Any:
    """The class or factory of the connections of *pool*."""
    made_by = pool.connection_class
    while isinstance(made_by, functools.partial):
        made_by = made_by.func
    return made_by


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


def _accept_push_requests(connection: Any) -> None:
    """Let *connection* take the `push_request` that redis-py's PubSub passes.

    A Sentinel's of redis-py 5.0.0 does not, nor may one of the application's own class.
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


def _use_own_sentinels(pool: Any) -> None:
    """Let *pool*, a copy, ask its sentinels on connections of our own."""
    manager = copy.copy(pool.sentinel_manager)
    manager.sentinels = [
        Connections(sentinel.connection_pool).to_ask(sentinel)
        for sentinel in manager.sentinels
    ]
    proxy = copy.copy(pool.proxy)
    proxy.sentinel_manager = manager
    # A new master would close the connections of the application's pool.
    proxy.connection_pool_ref = lambda: None
    # It sends PING, which not every server knows; the next answer says as much.
    proxy.check_connection = False
    pool.sentinel_manager, pool.proxy = manager, proxy
    pool.connection_kwargs["connection_pool"] = proxy
