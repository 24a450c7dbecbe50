"""The sources of events: on which channels of which Redis a target's events come."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from huey_otel._redis.stream import key_of
from huey_otel._safety.redaction import said
from huey_otel._storage.spellings import keys_of, spellings
from huey_otel.cli.output import say
from huey_otel.cli.target import (
    Address,
    Application,
    CannotLookError,
    Queues,
    Target,
    settings_of,
)

if TYPE_CHECKING:
    from huey_otel._storage.emitter import RedisEventEmitter


_LAST: Final = 20


class Source(NamedTuple):
    """A channel of a Redis, and the *key* of its stream, if it *has_stream*."""

    redis: "RedisEventEmitter"
    channel: str
    key: str
    has_stream: bool = False

    def last(self) -> str | None:
        """Behind which entry of the stream its last 20 are; None without a stream."""
        from redis import RedisError

        from huey_otel._redis.position import BEGINNING

        client: Any = self.redis.connections.to_ask()
        try:
            kind = client.type(self.key)
            if kind == b"none" and self.has_stream:
                # Its consumers have said nothing yet.
                return BEGINNING
            if kind != b"stream":
                return None
            entries = client.xrevrange(self.key, count=_LAST + 1)
        except (RedisError, OSError):
            # What is wrong with that Redis the listener says.
            return BEGINNING if self.has_stream else None
        finally:
            client.close()
        return str(entries[-1][0].decode()) if len(entries) > _LAST else BEGINNING

    def refused(self) -> str | None:
        """Why what is under the key cannot be read as a stream, empty if it can.

        None where there is nothing, or Redis is away.
        """
        from redis import RedisError
        from redis.exceptions import ResponseError

        client: Any = self.redis.connections.to_ask()
        try:
            kind = client.type(self.key)
            if kind == b"none":
                return "" if self.has_stream else None
            if kind != b"stream":
                return f"{self.key} is a {kind.decode()}, and no stream"
            client.xrevrange(self.key, count=1)
        except ResponseError as error:
            return f"{self.key} cannot be read: {said(error)}"
        except (RedisError, OSError):
            # Which others say.
            return "" if self.has_stream else None
        finally:
            client.close()
        return ""

    def end(self) -> str | None:
        """The id of the last entry of the stream; None where there is none."""
        from redis import RedisError

        client: Any = self.redis.connections.to_ask()
        try:
            entries = client.xrevrange(self.key, count=1)
        except (RedisError, OSError):
            return None
        finally:
            client.close()
        return str(entries[0][0].decode()) if entries else None


def sources_of(target: Target) -> list[Source]:
    """Where the events of *target* come; CannotLookError if it has none."""
    match target:
        case Application():
            return [_of_application(target)]
        case Queues(redis, names):
            # A name does not say which huey spells it.
            channels = dict.fromkeys(one for name in names for one in spellings(name))
            return [Source(redis, one, key_of(one)) for one in channels]
        case Address(host, port):
            raise CannotLookError(
                f"'{host}:{port}': a consumer's address has no events; expected an"
                " application, or the URL of a Redis"
            )


def _of_application(application: Application) -> Source:
    from huey_otel._process.outputs import Destinations

    huey = application.huey
    destinations = Destinations(huey.name, settings_of(huey))
    emitter, channel = destinations.of(huey.storage)
    if emitter is None:
        raise CannotLookError(f"{application.path!r}: its events are {destinations}")
    stream = destinations.settings.stream
    return Source(emitter, channel, key_of(channel, stream), stream is not None)


def say_which_are_unknown(queues: Queues) -> None:
    """Say of which of *queues* there is no key; nothing where Redis does not tell."""
    from redis import RedisError

    client = queues.redis.connections.to_ask()
    try:
        for name in queues.names:
            keys = [key for one in spellings(name) for key in keys_of(one)]
            if not any(client.exists(key) for key in keys):
                say(
                    f"Redis has no key of a queue {name!r}: it is idle, or has another"
                    " name, or is in another database; huey-otel check says more"
                )
    except (RedisError, OSError):
        return
    finally:
        client.close()
