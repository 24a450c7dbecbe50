"""Findings of a queue: whether it is there, and whether it moves."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from huey_otel import _names as n
from huey_otel.cli.check.backlog import Backlog, backlog_of
from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Finding, Level, Unknown, cannot_tell
from huey_otel.cli.check.keys import Keys, known
from huey_otel.cli.check.server import Server
from huey_otel.cli.check.words import counted, spoken
from huey_otel.cli.limits import OVERDUE

_A_WHILE: Final = 60.0
"""Seconds that messages may wait while one consumer is restarted."""

_OLD: Final = 86_400.0
_SAVING: Final = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress")
_FARTHEST_ZONE: Final = 15 * 3_600.0
_MANY_RESULTS: Final = 10_000
_MOST_NAMED: Final = 5


def no_keys(facts: Facts) -> Iterator[Finding]:
    """The queue has no key in this database."""
    keys, server = facts.keys, facts.server
    if keys is None or server is None:
        return
    if isinstance(keys.main.layout, Unknown):
        whether = "whether the queue has keys"
        yield cannot_tell("no-keys", whether, keys.main.layout, facts.queue)
        return
    elsewhere = keys.elsewhere
    if elsewhere is None or _names(keys) & set(elsewhere.queues):
        # Results of an Expire storage have keys of their own.
        return
    said = f"no key of it in database {server.database}"
    if elsewhere.databases:
        where = " and ".join(map(str, elsewhere.databases))
        said = f"{said}, but its keys are in database {where}"
        yield Finding(Level.ERROR, "no-keys", said, facts.queue)
    elif facts.environment is None:
        named = elsewhere.queues
        similar = get_close_matches(facts.queue, named, n=1)
        if similar:
            said = f"{said}, did you mean {similar[0]!r}?"
        if named:
            shown = ", ".join(named[:_MOST_NAMED])
            more = ", ..." if len(named) > _MOST_NAMED else ""
            said = f"{said}; queues here: {shown}{more}"
        if elsewhere.looked_at < elsewhere.keys:
            said = (
                f"{said} (in about {elsewhere.looked_at:,} of {elsewhere.keys:,} keys)"
            )
        if not similar:
            said = f"{said}; an empty queue that keeps no results has none"
        level = Level.WARNING if similar else Level.NOTE
        yield Finding(level, "no-keys", said, facts.queue)


def _names(keys: Keys) -> set[str]:
    return {one.name for one in (keys.main, *keys.others)}


def two_names(facts: Facts) -> Iterator[Finding]:
    """The queue has keys in two spellings."""
    keys = facts.keys
    if keys is None:
        return
    spelled = [one for one in (keys.main, *keys.others) if one.is_there]
    others = [one for one in keys.others if one.is_there]
    if not others or (len(spelled) == 1 and facts.environment is None):
        return
    parts = [
        f"huey.redis.{one.name} ({counted(one.messages, 'message')})" for one in spelled
    ]
    said = f"it has two names in Redis: {' and '.join(parts)}"
    if facts.environment is not None:
        said = f"{said}; the first is read by huey in this environment"
        if not keys.main.is_there:
            said = f"its keys are {parts[0]}, and huey in this environment reads"
            said = f"{said} huey.redis.{keys.main.name}"
    if any(one.messages for one in others):
        level = Level.ERROR
    else:
        level = Level.WARNING if keys.main.messages else Level.NOTE
    yield Finding(level, "two-names", said, facts.queue)


def no_consumer(facts: Facts) -> Iterator[Finding]:
    """No consumer takes the messages of the queue."""
    backlog, known_here = backlog_of(facts), facts.environment
    said = backlog.said
    periodic = 0 if known_here is None else known_here.periodic_tasks
    if not said and periodic:
        said = f"it has {counted(periodic, 'periodic task')}"
    if not said or facts.page is not None:
        return
    whether = "whether a consumer takes its messages"
    if facts.server is None:
        # A storage that is no Redis does not know who reads it.
        if backlog.waiting and known_here is not None:
            kind = type(known_here.huey.storage).__name__
            none = Unknown(f"a {kind} does not know who reads it")
            yield cannot_tell("no-consumer", whether, none, facts.queue)
        return
    consumers = facts.server.consumers
    if isinstance(consumers, Unknown):
        yield cannot_tell("no-consumer", whether, consumers, facts.queue)
    elif not consumers:
        level = Level.ERROR if _waits_for_long(backlog) else Level.WARNING
        here = f"database {facts.server.database}"
        said = f"{said}, and no consumer is connected to {here}"
        yield Finding(level, "no-consumer", said, facts.queue)
    elif facts.keys is not None and _is_unread(facts.keys, facts.server):
        since = spoken(facts.keys.unread or 0)
        said = f"{said}, and no scheduler has read its schedule for {since}"
        yield Finding(Level.ERROR, "no-consumer", said, facts.queue)
    elif any(client.waits for client in consumers) and _waits_for_long(backlog):
        # A worker that waits for this queue would have got one of its messages.
        others = "the workers that wait for messages here are those of other queues"
        none = Unknown(f"{said}, and {others}")
        yield cannot_tell("no-consumer", whether, none, facts.queue)


def _waits_for_long(backlog: Backlog) -> bool:
    if backlog.waiting and (backlog.oldest is None or backlog.oldest > _A_WHILE):
        return True
    return backlog.due > 0


def _is_unread(keys: Keys, server: Server) -> bool:
    """Whether no scheduler reads the queue's schedule, which has something."""
    if isinstance(server.info, Unknown):
        return False
    # While Redis forks to save its data, it does not note what is read.
    saves = any(map(server.number, _SAVING))
    return not saves and (keys.unread or 0) > OVERDUE


def old_message(facts: Facts) -> Iterator[Finding]:
    """A message has waited for a day."""
    oldest = backlog_of(facts).oldest
    if oldest is not None and oldest > _OLD:
        said = f"the oldest message has waited for {spoken(oldest)}"
        yield Finding(Level.WARNING, "old-message", said, facts.queue)


def overdue(facts: Facts) -> Iterator[Finding]:
    """A task on the schedule is due, and no scheduler moves it."""
    if facts.keys is not None and isinstance(facts.keys.due, Unknown):
        whether = "whether a task is overdue"
        yield cannot_tell("overdue", whether, facts.keys.due, facts.queue)
    backlog = backlog_of(facts)
    if not backlog.due:
        return
    said = f"the first task on the schedule has been due for {spoken(backlog.due)}"
    if backlog.zone and backlog.due < _FARTHEST_ZONE:
        said = f"{said}, if its consumers are in the time zone of this machine"
        yield Finding(Level.WARNING, "overdue", said, facts.queue)
    else:
        yield Finding(Level.ERROR, "overdue", said, facts.queue)


def results(facts: Facts) -> Iterator[Finding]:
    """Many results are kept, and no program reads them."""
    number: float | None = None
    if facts.keys is not None:
        number = _results(facts.keys)
    elif facts.held is not None and not isinstance(facts.held, Unknown):
        number = facts.held.results
    elif facts.page is not None:
        number = facts.page.value(n.RESULTS, facts.queue)
    if number is not None and number > _MANY_RESULTS:
        said = f"{counted(int(number), 'result')} wait to be read"
        yield Finding(Level.WARNING, "results", said, facts.queue)


def _results(keys: Keys) -> int:
    return known(keys.main.results) + sum(known(one.results) for one in keys.others)


ALL: Final = (no_keys, two_names, no_consumer, old_message, overdue, results)
