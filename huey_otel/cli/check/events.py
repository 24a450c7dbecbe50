"""The last events of a queue: from its stream, and from what is published meanwhile."""

from threading import Timer
from typing import TYPE_CHECKING, Any, Final

from huey_otel._redis.listener import EventListener, parse
from huey_otel._redis.stream import BODY
from huey_otel.cli.check.asking import Asking
from huey_otel.cli.check.finding import Unknown

if TYPE_CHECKING:
    from huey_otel._storage.emitter import RedisEventEmitter
    from huey_otel.events import Event

_FROM_STREAM: Final = 500
_MOST: Final = 10_000


def recent(
    ask: Asking,
    client: Any,
    emitter: "RedisEventEmitter",
    channel: str,
    key: str,
    queue: str,
    listen: float,
) -> list["Event"]:
    """The last events of *queue*, oldest first; listens for *listen* seconds.

    *key* is that of its stream.
    """
    entries: Any = ask("XREVRANGE", lambda: client.xrevrange(key, count=_FROM_STREAM))
    found: list[Event] = []
    if not isinstance(entries, Unknown):
        bodies = [fields.get(BODY, b"") for _, fields in reversed(entries)]
        found += [event for event in map(parse, bodies) if event is not None]
    if listen:
        with EventListener(emitter, channel) as listener:
            timer = Timer(listen, listener.close)
            timer.daemon = True
            timer.start()
            for event in listener:
                found.append(event)
                if len(found) >= _MOST:
                    break
    return [event for event in found if event.get("queue") == queue]
