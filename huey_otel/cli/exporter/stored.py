"""The stored pages: what consumers have left in Redis, read as untrusted input."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.exposition import escaped
from huey_otel._safety.encodable import printable
from huey_otel._safety.redaction import said
from huey_otel._wire.page import (
    DAMAGED,
    LARGEST,
    LIFETIME,
    TOO_LARGE,
    Head,
    PageError,
    index_of,
    key_of,
    unpack,
)
from huey_otel.cli.exporter.backlog import UnreadableError
from huey_otel.cli.exporter.together import Answer, Together

if TYPE_CHECKING:
    from redis import Redis

LIVE: Final = "live"
STALE: Final = "stale"
ENDED: Final = "ended"
REPLACED: Final = "replaced"
WRONG_TYPE: Final = "wrong_type"

_MOST: Final = 1_000
"""Pages of one index that are read, the latest."""

_AT_ONCE: Final = 64
"""Pages that are read in one trip."""

_USUAL: Final = 256 << 10
"""Bytes of a page: the rest of a longer one is read in a trip of its own."""

_SAME: Final = 0.05
"""Seconds by which a page that is not renewed may seem to expire later, or earlier."""

LARGEST_TOGETHER: Final = 512 << 20
"""Bytes of text of all pages that one answer is made of."""

_MISSED: Final = 3
"""Intervals after which a page that was not renewed is stale."""

_DIGITS: Final = 20
"""Of the microseconds in a publisher's name, at most."""

_GONE: Final = -2
"""Redis' time to live of a key that is not there."""

_BUSY: Final = re.compile(
    rf'^{n.WORKERS_BUSY}\{{queue="((?:[^"\\\n]|\\.)*)",worker_type="\w+"\}}'
    r" (\d{1,9})\.0$",
    re.MULTILINE,
)


class Stored(NamedTuple):
    """A page, and the name of its consumer; `age` is in seconds."""

    name: str
    publisher: str
    head: Head
    text: str
    age: float
    replaced: bool = False

    @property
    def state(self) -> str:
        """LIVE, STALE, ENDED or REPLACED."""
        if self.head.ended:
            state = ENDED
        else:
            state = STALE if self.age > _MISSED * self.head.interval else LIVE
        return REPLACED if self.replaced and state != LIVE else state

    @property
    def started(self) -> str:
        """When its publisher began, by the clock of its consumer; for comparison."""
        digits = self.publisher.rpartition(":")[2]
        return digits.zfill(_DIGITS)

    @property
    def busy(self) -> int:
        """The workers that ran a task of its queue then."""
        own = escaped(self.head.queue)
        found = _BUSY.findall(self.text)
        return sum(int(number) for queue, number in found if queue == own)


class Skipped(NamedTuple):
    """A page that is not used; `state` is the reason in a word."""

    key: str
    state: str
    why: str


class Allowance:
    """How many bytes of text may be unpacked for one answer."""

    def __init__(self) -> None:
        self.left = LARGEST_TOGETHER


class Kept(NamedTuple):
    """A page as it was read, and when it *expires*, by the server's clock."""

    expires: float
    page: Stored | Skipped


KeptPages = dict[bytes, Kept]
"""What is kept from one look to the next, by publisher."""


class StoredPages:
    """The pages of the queue that is spelled *name*, of all or of *wanted* consumers.

    Call `ask`, `ask_more` and `told` one after the other, with a trip to Redis after
    each of the first two. Pages that are *kept* are read again when they were renewed;
    without it nothing is.
    """

    def __init__(
        self,
        name: str,
        wanted: Collection[str] | None = None,
        kept: KeptPages | None = None,
    ) -> None:
        self._name = name
        self._wanted = None if wanted is None else {one.encode() for one in wanted}
        self._kept = kept
        self._found: list[bytes] = []
        self._left: dict[bytes, Answer] = {}
        self._read: dict[bytes, _Reading] = {}
        self._now = 0.0

    def ask(self, together: Together) -> None:
        """Ask which there are."""
        self._index = together.ask("zrevrange", index_of(self._name), 0, _MOST)
        for publisher in self._kept or ():
            self._left[publisher] = together.ask("pttl", self._key_of(publisher))

    def ask_more(self, together: Together, now: float) -> None:
        """Ask for those that are not kept, of which the first ones come together.

        Raises UnreadableError where Redis does not tell which there are.
        """
        self._now = now
        found = self._index()
        if isinstance(found, Exception):
            index = index_of(self._name)
            raise UnreadableError(f"{index} cannot be read: {said(found)}") from found
        self._found = found
        for publishers in self._groups():
            for publisher in publishers:
                if self._unchanged(publisher) is None:
                    self._read[publisher] = _Reading(self._key_of(publisher))
        for reading in list(self._read.values())[:_AT_ONCE]:
            reading.ask(together)

    def told(self, client: "Redis", allowance: Allowance) -> Iterator[Stored | Skipped]:
        """All of them; raises UnreadableError, and redis' errors where it is away."""
        readings = list(self._read.values())
        for first in range(_AT_ONCE, len(readings), _AT_ONCE):
            together = Together(client)
            for reading in readings[first : first + _AT_ONCE]:
                reading.ask(together)
            together.send()
        before = dict(self._kept or {})
        if self._kept is not None:
            self._kept.clear()
        for publishers in self._groups():
            pages = [self._page(client, one, before, allowance) for one in publishers]
            yield from _told_apart([page for page in pages if page is not None])
        if self._found[_MOST:]:
            index = index_of(self._name)
            yield Skipped(index, TOO_LARGE, f"names over {_MOST:,} pages")

    def _groups(self) -> Iterator[list[bytes]]:
        """The publishers that may have been one consumer after the other."""
        clients: dict[bytes, list[bytes]] = {}
        for publisher in self._found[:_MOST]:
            clients.setdefault(publisher.rpartition(b":")[0], []).append(publisher)
        for consumer, publishers in clients.items():
            if self._wanted is None or not self._wanted.isdisjoint(
                (consumer, *publishers)
            ):
                yield publishers

    def _key_of(self, publisher: bytes) -> bytes:
        return key_of(self._name, "").encode() + publisher

    def _unchanged(self, publisher: bytes) -> Kept | None:
        """What is kept of *publisher*, if Redis still has that."""
        kept = None if self._kept is None else self._kept.get(publisher)
        left = self._left[publisher]() if publisher in self._left else None
        if kept is None or type(left) is not int:
            return None
        if abs(_expiry(self._now, left) - kept.expires) > _SAME:
            return None
        page = kept.page
        if isinstance(page, Stored):
            aged = page._replace(age=LIFETIME - left / 1000)
            # It may have been the last but one, and the last one came at once.
            if aged.state != page.state:
                return None
            page = aged
        return Kept(kept.expires, page)

    def _page(
        self,
        client: "Redis",
        publisher: bytes,
        before: KeptPages,
        allowance: Allowance,
    ) -> Stored | Skipped | None:
        """The page of *publisher*; None if it is gone by now."""
        reading = self._read.get(publisher)
        if reading is None:
            # The time to live says how old it is by now.
            left = self._left[publisher]()
            kept = before[publisher]
            if isinstance(kept.page, Stored):
                aged = kept.page._replace(age=LIFETIME - left / 1000)
                kept = Kept(kept.expires, aged)
                allowance.left -= len(aged.text)
        else:
            left, body = reading.told(client)
            page = _unpacked(reading.key, publisher, left, body, allowance)
            if page is None:
                return None
            kept = Kept(_expiry(self._now, left), page)
        if self._kept is not None:
            self._kept[publisher] = kept
        return kept.page


class _Reading:
    """The reading of the page under *key*."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def ask(self, together: Together) -> None:
        self._left = together.ask("pttl", self.key)
        self._body = together.ask("getrange", self.key, 0, _USUAL)

    def told(self, client: "Redis") -> tuple[Any, Any]:
        """The time to live in milliseconds, and the page; each may be a refusal."""
        left, body = self._left(), self._body()
        if isinstance(body, bytes) and len(body) > _USUAL:
            # It is large, and by now it may be another one.
            together = Together(client)
            left_again = together.ask("pttl", self.key)
            whole = together.ask("getrange", self.key, 0, LARGEST)
            together.send()
            return left_again(), whole()
        return left, body


def _told_apart(pages: Sequence[Stored | Skipped]) -> Iterator[Stored | Skipped]:
    """*pages* of one host and process id, under names of their own.

    A process may restart its consumer, and in a container each has the same id.
    Containers that share the name of their host may all run. The one that began last
    has the name, so its series begin again at 0, and no series goes on as another's.
    """
    yield from (page for page in pages if isinstance(page, Skipped))
    read = [page for page in pages if isinstance(page, Stored)]
    read.sort(key=lambda page: page.started, reverse=True)
    for number, page in enumerate(read):
        yield page._replace(name=page.publisher, replaced=True) if number else page


def _expiry(now: float, left: int) -> float:
    """When what has so many milliseconds *left* expires; negative for never."""
    return float(left) if left < 0 else now + left / 1000


def _unpacked(
    key: bytes, publisher: bytes, left: Any, body: Any, allowance: Allowance
) -> Stored | Skipped | None:
    """The page under *key*, of these bytes and so many milliseconds to live."""
    shown = printable(key.decode(errors="backslashreplace"))
    for answer in (left, body):
        if isinstance(answer, Exception):
            if str(answer).startswith("WRONGTYPE"):
                return Skipped(shown, WRONG_TYPE, "is no page")
            raise UnreadableError(f"{shown} cannot be read: {said(answer)}")
    if left == _GONE or not body:
        return None
    if not 0 <= left <= LIFETIME * 1000:
        return Skipped(shown, DAMAGED, "does not expire as a page does")
    try:
        head, text = unpack(body, min(LARGEST, allowance.left))
    except PageError as error:
        return Skipped(shown, error.reason, str(error))
    allowance.left -= len(text)
    age = LIFETIME - left / 1000
    own = publisher.decode(errors="backslashreplace")
    return Stored(head.consumer, own, head, text, age)
