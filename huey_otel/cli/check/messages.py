"""The messages that were enqueued last: only what their trailers say."""

import pickletools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from huey_otel._storage.carriers import OpaqueError, opened, sniffed
from huey_otel._wire.carrier import TrailerError

MOST: Final = 100
"""Messages of a queue that are looked at."""

_MOST_BYTES: Final = 4_194_304
"""About as many are read, unless one message has more."""

Read = Callable[[int, int], Sequence[bytes]]
"""Returns the messages from one place to another, both included."""


@dataclass(slots=True)
class Sample:
    """What was seen in some messages.

    *latest* is when the last one was enqueued by its producer's clock, *at* when it
    was looked at by ours. *unreadable* says what is wrong with some trailers. Of
    *opaque* messages nothing is known: a serializer of another kind has written them.
    *fields* is the most that one message has; newer hueys write more.
    """

    carrying: int = 0
    plain: int = 0
    opaque: int = 0
    fields: int = 0
    latest: float | None = None
    at: float = field(default_factory=time.time)
    unreadable: list[str] = field(default_factory=list)

    @property
    def looked_at(self) -> int:
        """How many messages there are in it."""
        return self.carrying + self.plain + self.opaque + len(self.unreadable)

    def add(self, message: bytes) -> None:
        """Look at *message*."""
        try:
            whole = opened(message)
            carrier = sniffed(whole)
        except TrailerError as error:
            self.unreadable.append(str(error))
        except OpaqueError:
            self.opaque += 1
        else:
            self.fields = max(self.fields, fields_of(whole))
            if carrier is None:
                self.plain += 1
                return
            self.carrying += 1
            if self.latest is None or carrier.enqueued > self.latest:
                self.latest = carrier.enqueued


def fields_of(message: bytes) -> int:
    """How many fields huey has written of *message*, a pickle that is not loaded.

    0 where they cannot be counted.
    """
    # What is on the stack of the machine that loads it, from each mark on.
    levels = [0]
    try:
        for opcode, _, _ in pickletools.genops(message):
            if pickletools.markobject in opcode.stack_after:
                levels.append(0)
                continue
            if pickletools.markobject in opcode.stack_before:
                fields = levels.pop()
                if len(levels) == 1 and opcode.name == "TUPLE":
                    return fields
                before = opcode.stack_before.index(pickletools.markobject)
            else:
                before = len(opcode.stack_before)
            levels[-1] += len(opcode.stack_after) - before
    except (ValueError, IndexError):
        # What is no pickle, or none of huey's.
        pass
    return 0


def sample(read: Read) -> Sample:
    """Look at the first messages that *read* returns, at some megabytes of them."""
    found = Sample()
    at = largest = size = 0
    while at < MOST and size < _MOST_BYTES:
        # One first: its size is a guess at that of the others.
        room = (_MOST_BYTES - size) // largest if largest else 1
        messages = read(at, min(MOST, at + max(1, room)) - 1)
        if not messages:
            break
        for message in messages:
            found.add(message)
            size += len(message)
            largest = max(largest, len(message))
        at += len(messages)
    return found
