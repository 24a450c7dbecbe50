"""Our own: a copy of a storage that shares no connection with the application's."""

import copy
import threading
from typing import Any

from huey.storage import BaseSqlStorage

from huey_otel._storage.emitter import of_storage
from huey_otel._storage.optional_commands import OptionalCommands


def our_own(storage: Any) -> tuple[Any, OptionalCommands | None]:
    """A copy of *storage* that shares no connection and no lock with it.

    Of a Redis also which optional commands it answers.
    """
    emitter = of_storage(storage)
    if emitter is not None:
        own = copy.copy(storage)
        client = storage.conn if hasattr(storage.conn, "connection_pool") else None
        own.conn = emitter.connections.to_ask(client)
        return own, emitter.connections.optional
    if (
        isinstance(storage, BaseSqlStorage)
        and {"lock", "_conn"} <= vars(storage).keys()
    ):
        own = copy.copy(storage)
        vars(own).update(lock=threading.Lock(), _conn=None)
        return own, None
    return storage, None
