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

if TYPE_CHECKING:
    from redis import Redis

LIVE: Final = "live"
STALE: Final = "stale"
ENDED: Final = "ended"
REPLACED: Final = "replaced"
WRONG_TYPE: Final = "wrong_type"

_MOST: Final = 1_000
"""Pages of one index that are read, the latest."""

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


def stored(
    client: "Redis",
    name: str,
    allowance: Allowance,
    wanted: Collection[str] | None = None,
) -> Iterator[Stored | Skipped]:
    """The pages of the queue that is spelled *name*, of all or of *wanted* consumers.

    Raises UnreadableError where Redis does not tell which there are, and redis' errors
    where it is away.
    """
    from redis.exceptions import ResponseError

    index = index_of(name)
    try:
        found: Any = client.zrevrange(index, 0, _MOST)
    except ResponseError as error:
        raise UnreadableError(f"{index} cannot be read: {said(error)}") from error
    clients: dict[bytes, list[bytes]] = {}
    for publisher in found[:_MOST]:
        clients.setdefault(publisher.rpartition(b":")[0], []).append(publisher)
    names = None if wanted is None else {one.encode() for one in wanted}
    for consumer, publishers in clients.items():
        if names is not None and names.isdisjoint((consumer, *publishers)):
            continue
        pages = [_page(client, name, one, allowance) for one in publishers]
        yield from _told_apart([page for page in pages if page is not None])
    if found[_MOST:]:
        yield Skipped(index, TOO_LARGE, f"names over {_MOST:,} pages")


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


def _page(
    client: "Redis", name: str, publisher: bytes, allowance: Allowance
) -> Stored | Skipped | None:
    """The page of *publisher*; None if it is gone by now."""
    key = key_of(name, "").encode() + publisher
    shown = printable(key.decode(errors="backslashreplace"))
    with client.pipeline(transaction=False) as pipeline:
        pipeline.pttl(key)
        pipeline.getrange(key, 0, LARGEST)
        told: list[Any] = pipeline.execute(raise_on_error=False)
    for answer in told:
        if isinstance(answer, Exception):
            if str(answer).startswith("WRONGTYPE"):
                return Skipped(shown, WRONG_TYPE, "is no page")
            raise UnreadableError(f"{shown} cannot be read: {said(answer)}")
    left, page = told
    if left == _GONE or not page:
        return None
    if not 0 <= left <= LIFETIME * 1000:
        return Skipped(shown, DAMAGED, "does not expire as a page does")
    try:
        head, text = unpack(page, min(LARGEST, allowance.left))
    except PageError as error:
        return Skipped(shown, error.reason, str(error))
    allowance.left -= len(text)
    age = LIFETIME - left / 1000
    own = publisher.decode(errors="backslashreplace")
    return Stored(head.consumer, own, head, text, age)
