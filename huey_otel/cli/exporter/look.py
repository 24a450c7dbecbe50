"""The look: what one Redis tells of some queues and their consumers at one moment."""

import re
import threading
import zoneinfo
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from huey_otel._safety.redaction import said
from huey_otel._storage.failover import MasterCheck
from huey_otel._storage.layouts import ask_plainly
from huey_otel._storage.spellings import spellings
from huey_otel.cli.exporter.backlog import (
    AskedBacklog,
    Backlog,
    Clock,
    UnreadableError,
    added_up,
)
from huey_otel.cli.exporter.stored import (
    Allowance,
    KeptPages,
    Skipped,
    Stored,
    StoredPages,
)
from huey_otel.cli.exporter.together import Together
from huey_otel.cli.output import say
from huey_otel.cli.target import Queues

_PATIENCE: Final = 5.0
"""Seconds that one answer waits for the one before."""

_MOST_SAID: Final = 1_000

_KEPT: Final = re.compile("[A-Za-z0-9_]")
"""What huey keeps of a name in its keys; names without any share their keys."""

Take = Callable[[str, Stored], None]
"""Takes a queue's name and a page of it."""


@dataclass(slots=True)
class Seen:
    """What was seen of one queue.

    `at` is when, in Unix seconds by the server's clock, 0 if that is not known.
    `backlog` is None where it cannot be told. `away` says why Redis tells nothing at
    all, `no_pages` and `no_backlog` why it does not tell that part. `states` counts
    the pages by what they are, `bad` are those that cannot be read.
    """

    queue: str
    at: float = 0.0
    backlog: Backlog | None = None
    states: Counter[str] = field(default_factory=Counter)
    bad: list[Skipped] = field(default_factory=list)
    away: str = ""
    no_pages: str = ""
    no_backlog: str = ""

    @property
    def troubles(self) -> list[str]:
        """What cannot be told, and why."""
        return [why for why in (self.away, self.no_pages, self.no_backlog) if why]


class BusyError(Exception):
    """Another answer does not end."""


class Look:
    """Asks the Redis of *target*, one look at a time.

    *zone* is that of the consumers, None for this process' own. With *exact*, names
    of queues are as in Redis' keys. What cannot be read is said on standard error,
    once until it can be, unless *quiet*. With *keep* pages are kept from look to look
    until they are renewed.
    """

    def __init__(
        self,
        target: Queues,
        zone: zoneinfo.ZoneInfo | None,
        *,
        exact: bool = False,
        quiet: bool = False,
        keep: bool = False,
    ) -> None:
        self.queues = target.names
        self.address = target.redis.address
        self._zone = zone
        self._exact = exact
        self._quiet = quiet
        self._keeps = keep
        self._kept: dict[str, dict[str, KeptPages]] = {}
        self._optional = target.redis.connections.optional
        self._client = target.redis.connections.to_ask()
        # Its user need not be allowed to run any.
        ask_plainly(self._client)
        self._master_check: MasterCheck | None = None
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()

    def away(self) -> str:
        """Why Redis does not answer, empty if it does."""
        from redis import RedisError

        try:
            with self._looking():
                self._now()
        except (RedisError, OSError) as error:
            return self._is_away(error)
        except UnreadableError as error:
            return str(error)
        return ""

    def __call__(
        self, queues: Sequence[str], take: Take, wanted: Collection[str] | None = None
    ) -> list[Seen]:
        """What is there of *queues*; *take* is called with each page that can be read.

        With the names of *wanted* consumers, only their pages, and no backlog, which
        is not of one of them. Raises BusyError where an earlier look does not end.
        """
        from redis import RedisError

        found = [Seen(queue) for queue in queues]
        with self._looking():
            allowance = Allowance()
            for number, seen in enumerate(found):
                try:
                    self._see(seen, take, allowance, wanted)
                except (RedisError, OSError) as error:
                    # Each other question would take as long.
                    why = self._is_away(error)
                    for unseen in found[number:]:
                        unseen.away = why
                    break
                except UnreadableError as error:
                    seen.away = str(error)
        if not self._quiet:
            self._say(found)
        return found

    @contextmanager
    def _looking(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise BusyError("another answer does not end")
        try:
            yield
        finally:
            self._lock.release()

    def _see(
        self,
        seen: Seen,
        take: Take,
        allowance: Allowance,
        wanted: Collection[str] | None,
    ) -> None:
        self._follow()
        names = (seen.queue,) if self._exact else spellings(seen.queue)
        spelled = names if self._exact or _KEPT.search(seen.queue) else (*names, "")
        kept = self._kept.setdefault(seen.queue, {}) if self._keeps else {}
        pages = {
            name: StoredPages(
                name, wanted, kept.setdefault(name, {}) if self._keeps else None
            )
            for name in names
        }
        asked = spelled if wanted is None else ()
        backlogs = {name: AskedBacklog(name) for name in asked}
        together = Together(self._client)
        time_ = together.ask("time")
        for of_name in pages.values():
            of_name.ask(together)
        for backlog in backlogs.values():
            backlog.ask(together)
        together.send()
        seen.at = _moment(time_())
        together = Together(self._client)
        try:
            for of_name in pages.values():
                of_name.ask_more(together, seen.at)
        except UnreadableError as error:
            seen.no_pages = str(error)
            pages = {}
        for backlog in backlogs.values():
            backlog.ask_more(together, Clock(seen.at, self._zone))
        together.send()
        used = self._take(seen, pages, take, allowance)
        if wanted is not None:
            return
        if used:
            # Where consumers say how the name is spelled, the others do not count:
            # they may be the names of other queues.
            spelled = (*used, *spelled[len(names) :])
        try:
            told = [backlogs[name].told(self._client) for name in spelled]
        except UnreadableError as error:
            seen.no_backlog = str(error)
        else:
            seen.backlog = added_up(told)

    def _take(
        self,
        seen: Seen,
        pages: Mapping[str, StoredPages],
        take: Take,
        allowance: Allowance,
    ) -> Collection[str]:
        """Have *pages* taken; the spellings of the queue's name that have any."""
        used: dict[str, None] = {}
        try:
            for name, of_name in pages.items():
                for page in of_name.told(self._client, allowance):
                    used[name] = None
                    self._sort(seen, page, take)
        except UnreadableError as error:
            seen.no_pages = str(error)
            return ()
        return used

    @staticmethod
    def _sort(seen: Seen, page: Stored | Skipped, take: Take) -> None:
        seen.states[page.state] += 1
        if isinstance(page, Stored):
            take(seen.queue, page)
        else:
            seen.bad.append(page)

    def _now(self) -> float:
        """The server's time."""
        self._follow()
        together = Together(self._client)
        time_ = together.ask("time")
        together.send()
        return _moment(time_())

    def _follow(self) -> None:
        """Connect again after a failover behind the server's name."""
        ask = partial(_without_role, partial(self._optional.send_by, self._client))
        if self._master_check is None:
            self._master_check = MasterCheck()
            self._master_check.connected(ask)
        elif self._master_check.must_reconnect(ask):
            self._client.connection_pool.disconnect()
            self._master_check.connected(ask)

    def _is_away(self, error: Exception) -> str:
        self._master_check = None
        return f"{self.address} cannot be asked: {said(error)}"

    def _say(self, found: Sequence[Seen]) -> None:
        news: dict[str, None] = {}
        for seen in found:
            # Answers may be about other queues each time.
            before, now = self._troubles.get(seen.queue, ""), "; ".join(seen.troubles)
            self._troubles[seen.queue] = now
            if now != before:
                news[now or f"{self.address} tells all of {seen.queue!r} again"] = None
        for text in news:
            say(text)
        for bad in (bad for seen in found for bad in seen.bad):
            if (bad.key, bad.state) not in self._said:
                if len(self._said) >= _MOST_SAID:
                    self._said.clear()
                self._said.add((bad.key, bad.state))
                say(f"page {bad.key} is skipped, it {bad.why}")


def _moment(told: Any) -> float:
    """What TIME has *told*, in Unix seconds."""
    if isinstance(told, Exception):
        raise UnreadableError(f"TIME is refused: {said(told)}") from told
    whole, microseconds = told
    return float(whole + microseconds / 1e6)


def _without_role(ask: Callable[..., Any], *command: str) -> Any:
    # Only administrators may send that, and INFO tells the same.
    return None if command == ("ROLE",) else ask(*command)
