"""The reader of a stream: reads from a position on, and knows what was trimmed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from huey_otel._redis.position import (
    ACCEPTED,
    FIRST,
    Id,
    Position,
    Since,
    id_of,
    spell,
)
from huey_otel._redis.stream import BODY
from huey_otel._safety.log import warn
from huey_otel._safety.redaction import said
from huey_otel._storage.connections import Connections
from huey_otel._storage.failover import MasterCheck

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

_AT_ONCE: Final = 200
"""Entries of one read."""

_LONGEST_READ: Final = 1_000
"""Milliseconds that Redis keeps a read waiting: its connection gives up after 2 s."""

_MOST_TRIES: Final = 10

Body = bytes | None
"""What an entry has of an event, None if that is nothing."""


class _State(NamedTuple):
    """What Redis says of a stream; *added* is None before Redis 7."""

    last: Id
    first: Id | None
    length: int
    added: int | None

    @property
    def gone(self) -> int:
        """How many entries were ever trimmed; call it only where *added* is known."""
        return max(0, cast("int", self.added) - self.length)

    def is_another(self, entry: Id, added: int) -> bool:
        """Whether *entry* cannot have been the one with the number *added* in it.

        If it was, and not all up to it are gone, the first one is not behind it.
        """
        return self.gone < added and self.first is not None and self.first > entry


_Entry = tuple[Id, Body]

_NO_STREAM: Final = _State(last=FIRST, first=None, length=0, added=0)


class StreamReader:
    """Reads the stream *key* from *since* on; any method raises RedisError or OSError.

    `position` is behind the last entry that was passed, None until Redis has told it.
    `trimmed` is how many entries are gone that came behind the position it began at,
    None where that cannot be known. *is_known* says of a body whether its event was
    passed.
    """

    def __init__(
        self,
        connections: Connections,
        key: str,
        since: Since,
        is_known: Callable[[Body], bool],
    ) -> None:
        self.position = since if isinstance(since, Position) else None
        self.trimmed: int | None = 0
        self._connections = connections
        self._key = key
        self._since = since
        self._is_known = is_known
        self._connection: AbstractConnection | None = None
        self._check = MasterCheck()
        self._begun = self._at_end = False
        self._first: Id | None = None
        self._tries = 0

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def open(self) -> None:
        """Connect; ValueError if the entry that it is to begin at is in the future."""
        connection = self._connections.to_read()
        self._connection = connection
        try:
            connection.connect()
            self._check.connected(self._ask_optional)
            if not self._begun:
                self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def failed(self, _: Exception) -> None:
        """End the connection after a failure of `read`."""
        self.close()

    def read(self) -> Iterator[Body]:
        """The next bodies, which it passes one by one; waits a second for the first."""
        if self._check.is_due() and self._check.must_reconnect(self._ask_optional):
            self.close()
            self.open()
        position = cast("Position", self.position)
        wait = ("BLOCK", _LONGEST_READ) if self._at_end else ()
        behind = ("STREAMS", self._key, spell(position.id))
        told, info = self._ask(
            ("XREAD", "COUNT", _AT_ONCE, *wait, *behind), ("XINFO", "STREAM", self._key)
        )
        if isinstance(told, Exception):
            raise told
        entries = _entries_of(told)
        state = self._state_of(info)
        if not entries:
            self._at_end = True
            if state is not None:
                self._reached_end(position, state)
            return iter(())
        self._at_end = False
        if state is None:
            self.position = Position(position.id)
        elif not self._follow(position, [entry for entry, _ in entries], state):
            return iter(())
        return self._pass(entries)

    def _pass(self, entries: Sequence[_Entry]) -> Iterator[Body]:
        for entry, body in entries:
            added = cast("Position", self.position).added
            self.position = Position(entry, None if added is None else added + 1)
            yield body

    def _begin(self) -> None:
        """Find the position to begin at."""
        (info,) = self._ask(("XINFO", "STREAM", self._key))
        state = self._state_of(info)
        since = self._since
        if isinstance(since, Position):
            # It was told by Redis already, unless a person has given an id.
            if state is not None and since.added is None and since.id > state.last:
                self._refuse_future(since.id)
                self.position = Position(state.last, state.added)
        else:
            end = self._end(state)
            self._first = state.first if state else None
            self.position = end
            if since is not None:
                now = self._now()
                if isinstance(now, Exception):
                    raise now
                begin = max(0, now - since.seconds * 1_000), 0
                self.position = end if begin >= end.id else Position(begin)
        self._begun = True

    def _end(self, state: _State | None) -> Position:
        if state is not None:
            return Position(state.last, state.added)
        last = self._last()
        return Position(last[0] if last else FIRST)

    def _last(self) -> _Entry | None:
        """The last entry of the stream, None if it has none."""
        (told,) = self._ask(("XREVRANGE", self._key, "+", "-", "COUNT", 1))
        if isinstance(told, Exception):
            raise told
        entries = _entries_of([(self._key, told)])
        return entries[0] if entries else None

    def _now(self) -> int | Exception:
        """The milliseconds of the server's clock, or why it refuses to tell them."""
        (told,) = self._ask(("TIME",))
        if isinstance(told, Exception):
            return told
        return int(told[0]) * 1_000 + int(told[1]) // 1_000

    def _refuse_future(self, entry: Id) -> None:
        """ValueError for an id that Redis cannot have given yet."""
        now = self._now()
        if not isinstance(now, Exception) and entry[0] > now:
            ahead = (entry[0] - now) / 1_000
            raise ValueError(
                f"since={spell(entry)!r}: this is {ahead:,.0f} s in the future, by the"
                f" clock of Redis; expected {ACCEPTED}"
            )

    def _state_of(self, info: Any) -> _State | None:
        """What XINFO has told, None where Redis refuses to tell."""
        if isinstance(info, Exception):
            if "no such key" in str(info):
                return _NO_STREAM
            if str(info).startswith("WRONGTYPE"):
                raise info
            self._forget(f"Redis refuses XINFO: {said(info)}")
            return None
        with _whatever_it_answers():
            told = dict(zip(info[::2], info[1::2], strict=False))
            first = told.get(b"first-entry")
            state = _State(
                last=id_of(told[b"last-generated-id"]),
                first=id_of(first[0]) if first else None,
                length=told[b"length"],
                added=told.get(b"entries-added"),
            )
        if state.added is None:
            self.trimmed = None
        return state

    def _reached_end(self, position: Position, state: _State) -> None:
        """There is no entry behind *position*; *state* says why."""
        if state.last < position.id:
            self._go_back(position, state)
        elif state.last == position.id:
            self.position = Position(position.id, state.added)
        elif not state.length:
            # Entries came, and were trimmed or deleted at once.
            self._add_trimmed(position, state.added)
            self.position = Position(state.last, state.added)
        if state.length:
            self._first = state.first

    def _go_back(self, position: Position, state: _State) -> None:
        """Read a stream again that has lost its end, or that was made again.

        A replica that becomes the master may not have the last entries. A Redis that
        restarts empty has none, and its clock may be behind.
        """
        from redis.exceptions import ResponseError

        same = state.first is not None and state.first == self._first
        if state.length and not same:
            with suppress(ResponseError):
                # Without permission to ask, events may come twice.
                last = self._last()
                same = last is not None and self._is_known(last[1])
        what = "has lost its last entries"
        if not same:
            what = "was made again" if state.length else "is gone"
            what = f"{what}, it is read from its beginning"
        warn("the stream %r at %s %s", self._key, self._connections.address, what)
        if same:
            self.position = Position(state.last, state.added)
            return
        if self._first is None and state.added is not None and state.gone:
            # It began behind the end, and the two cases look alike.
            self._forget("it does not have the position that was read from")
        self.position = Position(FIRST, None if state.added is None else 0)
        self._at_end = not state.length

    def _follow(self, position: Position, ids: Sequence[Id], state: _State) -> bool:
        """Count what is missing between *position* and *ids*; False to read again.

        Redis has told *state* after *ids*, and may have trimmed something in between.
        """
        before = position.added
        if state.added is None:
            before = None
        elif before is None:
            before = self._number(position.id, ids, state)
        elif state.added < before or state.is_another(position.id, before):
            # The key was deleted, or Redis has restarted empty.
            before = 0
        if before is not None and state.gone > before:
            if state.first == ids[0]:
                self._add_trimmed(Position(position.id, before), state.gone)
                before = state.gone
            elif self._tries < _MOST_TRIES:
                self._tries += 1
                return False
            else:
                self._forget("it is trimmed faster than it is read")
                before = None
        self._tries = 0
        self._first = state.first
        self.position = Position(position.id, before)
        return True

    def _number(self, begin: Id, ids: Sequence[Id], state: _State) -> int | None:
        """How many entries were added up to *begin*, or before *ids*; None if unknown.

        *ids* are the next ones behind *begin*.
        """
        added = cast("int", state.added)
        if state.gone and (state.first or state.last) > begin:
            if begin != FIRST:
                self._forget(f"{spell(begin)} has fallen out of it")
            if state.first == ids[0]:
                return state.gone
        elif begin == FIRST:
            return 0
        return added - len(ids) if state.last == ids[-1] else None

    def _add_trimmed(self, position: Position, gone: int | None) -> None:
        if position.added is None or gone is None:
            self._forget("it was trimmed before it was counted")
        elif self.trimmed is not None:
            self.trimmed += max(0, gone - position.added)

    def _forget(self, why: str) -> None:
        """From now on it is not known how many entries were trimmed."""
        if self.trimmed is not None:
            self.trimmed = None
            warn(
                "how many entries of the stream %r at %s were trimmed is not known: %s",
                *(self._key, self._connections.address, why),
            )

    def _ask_optional(self, *command: str | int) -> Any:
        connection = cast("AbstractConnection", self._connection)
        return self._connections.optional.send(connection, *command)

    def _ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The answers to *commands*, which are sent in one write; errors as well."""
        from redis.exceptions import ResponseError

        connection = cast("AbstractConnection", self._connection)
        packed = connection.pack_commands(commands)
        connection.send_packed_command(packed, check_health=False)
        answers = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers


def _entries_of(told: Any) -> list[_Entry]:
    """The entries in the answer to XREAD of one stream."""
    with _whatever_it_answers():
        return [
            (
                id_of(entry),
                dict(zip(fields[::2], fields[1::2], strict=False)).get(BODY),
            )
            for entry, fields in (told[0][1] if told else ())
        ]


@contextmanager
def _whatever_it_answers() -> Iterator[None]:
    """Raise InvalidResponse where an answer is not what a Redis would say."""
    from redis.exceptions import InvalidResponse

    try:
        yield
    except (TypeError, ValueError, LookupError) as error:
        raise InvalidResponse(f"no answer of a stream ({error})") from error
