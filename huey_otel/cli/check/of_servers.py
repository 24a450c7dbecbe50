"""Findings of a Redis server: whether it answers, and what it does to the queue."""

from collections.abc import Iterator
from typing import Final

from huey_otel import _names as n
from huey_otel.cli.check.facts import Facts, channels_of
from huey_otel.cli.check.finding import Finding, Level, Unknown, cannot_tell
from huey_otel.cli.check.of_streams import stream_type
from huey_otel.cli.check.words import counted, spoken

_APART: Final = 2.0
"""Seconds by which clocks may differ."""


def redis_away(facts: Facts) -> Iterator[Finding]:
    """A server that the queue or its events need does not answer."""
    server, outlet = facts.server, facts.outlet
    if server is not None and server.away:
        yield Finding(Level.ERROR, "redis-away", f"{server.address} {server.away}")
    if outlet is not None and outlet is not server and outlet.away:
        said = f"{outlet.address}, which its events go to, {outlet.away}"
        yield Finding(Level.ERROR, "redis-away", said, facts.queue)
    if isinstance(facts.held, Unknown):
        yield Finding(Level.ERROR, "redis-away", facts.held.why, facts.queue)
    page = facts.page
    if page is not None and page.value(n.STORAGE_UP, facts.queue) == 0:
        said = f"the consumer at {page.address} gets no answer of the queue's storage"
        yield Finding(Level.ERROR, "redis-away", said, facts.queue)


def channel(facts: Facts) -> Iterator[Finding]:
    """A program listens where no events are published."""
    outlet = facts.outlet
    if not facts.channel or outlet is None or outlet.away:
        return
    if facts.environment is None and facts.keys and facts.keys.elsewhere is not None:
        # Its channel is known only from its keys or its application.
        return
    whether = "whether a program listens on another channel"
    for server in facts.servers:
        told = server.listeners
        if isinstance(told, Unknown):
            yield cannot_tell("channel", whether, told)
            continue
        # Pub/sub knows no databases.
        there = server.address == outlet.address
        wrong = [
            name
            for name in channels_of(facts.queue)
            if told.get(name) and not (there and name == facts.channel)
        ]
        right = there and told.get(facts.channel)
        if wrong and not right:
            number = counted(sum(told[name] for name in wrong), "listener")
            on = " and ".join(map(repr, wrong))
            said = f"{number} on {on} of {server.address}, but events are published on"
            said = f"{said} {facts.channel!r} of {outlet.address}"
            yield Finding(Level.WARNING, "channel", said, facts.queue)


def acl(facts: Facts) -> Iterator[Finding]:
    """Events may not be published."""
    if isinstance(facts.publishing, Unknown):
        whether = "whether events may be published"
        yield cannot_tell("acl", whether, facts.publishing)
    elif facts.publishing and facts.environment is not None:
        yield Finding(Level.ERROR, "acl", facts.publishing, facts.queue)
    elif facts.publishing:
        # It need not be the one that its consumers are.
        none = Unknown(facts.publishing)
        whether = "whether its consumers may publish events"
        yield cannot_tell("acl", whether, none, facts.queue)
    page = facts.page
    refused = 0 if page is None else page.lost(facts.queue, n.LOSS_FEED_REFUSED)
    if page is not None and refused:
        said = f"{counted(refused, 'event')} of the consumer at {page.address} was"
        said = f"{said} refused since its start"
        yield Finding(Level.WARNING, "acl", said, facts.queue)
    unkept = 0 if page is None else page.lost(facts.queue, n.LOSS_STREAM_REFUSED)
    if page is not None and unkept and not any(stream_type(facts)):
        said = f"its stream has refused {counted(unkept, 'event')} of the consumer at"
        said = f"{said} {page.address} since its start, whose log says why"
        yield Finding(Level.WARNING, "acl", said, facts.queue)


def eviction(facts: Facts) -> Iterator[Finding]:
    """Redis may drop queues for want of memory."""
    for server in facts.servers:
        info = server.info
        if isinstance(info, Unknown) or "maxmemory_policy" not in info:
            why = info if isinstance(info, Unknown) else Unknown("INFO does not say it")
            yield cannot_tell("eviction", "whether Redis may drop queues", why)
            continue
        policy = str(info["maxmemory_policy"])
        if not server.number("maxmemory") or not policy.startswith("allkeys"):
            continue
        said = f"{server.address} has the maxmemory-policy {policy}"
        evicted = server.number("evicted_keys")
        if evicted:
            said = f"{said}, and has dropped {counted(evicted, 'key')} since its start"
        level = Level.ERROR if evicted else Level.WARNING
        yield Finding(level, "eviction", said)


def clock(facts: Facts) -> Iterator[Finding]:
    """The clocks of two machines differ."""
    for server in facts.servers:
        if isinstance(server.ahead, Unknown):
            yield cannot_tell("clock", "whether clocks differ", server.ahead)
        elif abs(server.ahead) > _APART + server.apart:
            yield _differs(server.address, server.ahead)
    page = facts.pages
    if page is not None and page.ahead is not None and abs(page.ahead) > _APART:
        yield _differs(f"the consumer at {page.address}", page.ahead)
    latest = _latest(facts)
    if latest > _APART:
        said = f"a message was enqueued {spoken(latest)} from now, by its producer"
        yield Finding(Level.WARNING, "clock", said, facts.queue)


def _differs(what: str, ahead: float) -> Finding:
    direction = "ahead of" if ahead > 0 else "behind"
    said = (
        f"the clock of {what} is {spoken(abs(ahead))} {direction} that of this machine"
    )
    return Finding(Level.WARNING, "clock", said)


def _latest(facts: Facts) -> float:
    """How many seconds in the future the last message was enqueued, by Redis' clock."""
    keys, server = facts.keys, facts.server
    if keys is None or isinstance(keys.sample, Unknown) or keys.sample.latest is None:
        return 0.0
    ahead = 0.0 if server is None or isinstance(server.ahead, Unknown) else server.ahead
    return keys.sample.latest - keys.sample.at - ahead


ALL: Final = (redis_away, channel, acl, eviction, clock)
