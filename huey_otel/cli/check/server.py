"""A Redis server: what it says of itself, and who is connected to it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._safety.redaction import said
from huey_otel.cli.check.asking import Asking
from huey_otel.cli.check.finding import Unknown

if TYPE_CHECKING:
    from redis import Redis

_WAITING: Final = frozenset({"brpop", "blpop", "bzpopmin", "bzpopmax", "blmove"})
_POLLING: Final = frozenset({"rpop", "lpop", "zpopmin"})
_SCHEDULING: Final = frozenset({"evalsha"})

_LOOKS: Final = 3
_BETWEEN_LOOKS: Final = 0.7
"""Seconds: a scheduler that looks each second may have enqueued something since."""

_LONGEST_INTERVAL: Final = 60
"""Seconds that huey allows between two looks of a scheduler, or of a polling worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A connection to the server, in its own words; times in seconds."""

    number: str
    name: str
    host: str
    database: int
    command: str
    flags: str
    age: int
    idle: int

    @property
    def waits(self) -> bool:
        """Whether it is blocked until a message comes."""
        return self.command in _WAITING and "b" in self.flags

    @property
    def looks(self) -> bool:
        """Whether it has looked for messages lately, as workers and schedulers do."""
        recently = self.idle <= _LONGEST_INTERVAL
        return recently and self.command in _POLLING | _SCHEDULING

    @property
    def is_ours(self) -> bool:
        """Whether huey-otel has made it, and not the application."""
        return self.name == n.REDIS_CLIENT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One Redis. *away* says why it does not answer; then nothing else is known of it.

    *ahead* is by how many seconds its clock is ahead of ours, *apart* how exact that
    is. *clients* are those that were seen in some looks. *listeners* counts the
    subscribers of some channels.
    """

    address: str
    database: int = 0
    away: str = ""
    ahead: float | Unknown = 0.0
    apart: float = 0.0
    info: Mapping[str, Any] | Unknown
    clients: tuple[Client, ...] | Unknown
    listeners: Mapping[str, int] | Unknown

    def number(self, name: str) -> int:
        """The number in INFO's field *name*, 0 if that is not known."""
        told = {} if isinstance(self.info, Unknown) else self.info
        value = told.get(name, 0)
        return value if isinstance(value, int) else 0

    @property
    def consumers(self) -> tuple[Client, ...] | Unknown:
        """The clients of the database that take messages, or look for ripe tasks."""
        if isinstance(self.clients, Unknown):
            return self.clients
        here = self.database
        return tuple(client for client in self.clients if _consumes(client, here))


def look_at(
    ask: Asking, client: "Redis", address: str, channels: tuple[str, ...]
) -> Server:
    """Ask the server of *client* for all that findings are made of.

    *channels* are those on which somebody may listen.
    """
    away = _away(client)
    if away:
        none = Unknown("Redis is away")
        return Server(
            address=address, away=away, info=none, clients=none, listeners=none
        )
    ahead, apart = _ahead(ask, client)
    info = ask("INFO", lambda: dict(client.info()))
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    return Server(
        address=address,
        database=database,
        ahead=ahead,
        apart=apart,
        info=info,
        clients=_clients(ask, client, database),
        listeners=ask(
            "PUBSUB NUMSUB",
            lambda: {
                _text(name): int(number)
                for name, number in client.pubsub_numsub(*channels)
            },
        ),
    )


def _away(client: "Redis") -> str:
    """Why the server does not answer, empty if it does."""
    from redis import exceptions

    try:
        client.ping()
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
        return f"refuses the password or the user ({said(error)})"
    except exceptions.NoPermissionError:
        return ""
    except exceptions.ResponseError as error:
        if str(error).startswith(("NOAUTH", "WRONGPASS", "DENIED")):
            return f"refuses us ({said(error)})"
        # A server that does not know PING has answered.
        return ""
    except exceptions.TimeoutError as error:
        return f"does not answer in 2 s ({said(error)})"
    except (exceptions.RedisError, OSError) as error:
        return f"does not answer ({said(error)})"
    return ""


def _ahead(ask: Asking, client: "Redis") -> tuple[float | Unknown, float]:
    def seconds() -> float:
        whole, microseconds = client.time()
        return float(whole + microseconds / 1e6)

    before = time.time()
    told = ask("TIME", seconds)
    apart = (time.time() - before) / 2
    return (told, 0.0) if isinstance(told, Unknown) else (told - before - apart, apart)


def _clients(
    ask: Asking, client: "Redis", database: int
) -> tuple[Client, ...] | Unknown:
    """All clients of the last look, with those that took messages in earlier ones."""
    known: dict[str, Client] = {}
    for number in range(_LOOKS):
        if number:
            time.sleep(_BETWEEN_LOOKS)
        told = ask("CLIENT LIST", lambda: list(map(_client, client.client_list())))
        if isinstance(told, Unknown):
            return told
        seen = [one for one in told if not one.command.startswith("client")]
        known |= {one.number: one for one in seen}
        if any(_consumes(one, database) for one in seen):
            break
    return tuple(known.values())


def _consumes(client: Client, database: int) -> bool:
    own = client.database == database and not client.is_ours
    return own and (client.waits or client.looks)


def _client(fields: Mapping[str, str]) -> Client:
    return Client(
        number=fields.get("id", fields.get("addr", "")),
        name=fields.get("name", ""),
        host=fields.get("addr", "").rpartition(":")[0],
        database=int(fields.get("db", 0)),
        command=fields.get("cmd", "").lower(),
        flags=fields.get("flags", ""),
        age=int(fields.get("age", 0)),
        idle=int(fields.get("idle", 0)),
    )


def publishing(
    ask: Asking,
    client: "Redis",
    channel: str,
    info: Mapping[str, Any] | Unknown,
    *,
    key: str | None = None,
) -> str | Unknown:
    """Why this user may not publish on *channel*, empty if he may.

    Or why he may not add to the stream *key*, if that is not None.
    """
    version = "" if isinstance(info, Unknown) else str(info.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < 6:
        return ""
    user: Any = ask("ACL WHOAMI", client.acl_whoami)
    if isinstance(user, Unknown):
        return user
    commands: dict[str, tuple[str, ...]] = {
        f"publish on {channel!r}": ("PUBLISH", channel, "event")
    }
    if key is not None:
        commands[f"add to the stream {key!r}"] = ("XADD", key, "*", "body", "event")
    for what, command in commands.items():
        told: Any = ask("ACL DRYRUN", partial(client.acl_dryrun, _text(user), *command))
        if isinstance(told, Unknown):
            return told
        if _text(told) != "OK":
            # What it is called here, Redis says in some versions only.
            return f"user {_text(user)!r} may not {what}"
    return ""


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
