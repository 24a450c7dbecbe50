"""Hearing: events of several sources as they come, and what is to be said of them."""

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from huey_otel._redis.listener import EventListener
from huey_otel._safety.log import logger
from huey_otel.cli.output import raise_if_unread, say
from huey_otel.cli.overheard import Overheard
from huey_otel.cli.sources import Source
from huey_otel.cli.target import CannotLookError
from huey_otel.cli.untraced import untraced
from huey_otel.events import Event

_MOST_WAITING: Final = 1_000
"""Events that wait for a slow reader; then Redis keeps some, and cuts us off."""

_TICK: Final = 1.0
"""Seconds without an event after which it looks whether there is still a reader."""


class _Heard(NamedTuple):
    """An event of *listener*'s, and how many it has missed since the one before."""

    listener: EventListener
    event: Event
    missing: int
    trimmed: int


class Hearing:
    """Iterates the events of *sources*; CannotLookError if one cannot be heard.

    It says on standard error what is missing, and when a Redis is away and is back.
    """

    @untraced()
    def __init__(self, sources: Sequence[Source], since: str | None = None) -> None:
        # An application's logging, which may be set up to do anything, is not asked.
        logger.propagate, logger.disabled = False, True
        begins = [source.last() for source in sources]
        self._listeners = [
            _listening(source, begin and (since or begin))
            for source, begin in zip(sources, begins, strict=True)
        ]
        for listener, source in zip(self._listeners, sources, strict=True):
            if listener.away is not None:
                raise CannotLookError(f"{source.redis.address}: {listener.away}")
        if since is not None and not any(begins):
            keys = " or ".join(repr(source.key) for source in sources)
            raise CannotLookError(
                f"--since {since}: there is no stream {keys} of earlier events;"
                " consumers write one with stream=True or HUEY_OTEL_STREAM=on"
            )
        logger.addHandler(_Saying())
        logger.setLevel(logging.WARNING)
        logger.disabled = False
        _say_what_is_heard(
            [one for one, begin in zip(sources, begins, strict=True) if begin],
            f"from the stream: {f'since {since}' if since else 'the last 20'}, and then"
            " as they come",
        )
        _say_what_is_heard(
            [one for one, begin in zip(sources, begins, strict=True) if not begin],
            "as they come: Redis keeps none, so earlier ones are not shown",
        )
        self._overheard = {
            listener: Overheard(source)
            for listener, source, begin in zip(
                self._listeners, sources, begins, strict=True
            )
            if begin
        }
        self._lacking: set[str] = set()
        self._skipping: set[str] = set()
        self._has_numbers = True
        self._waiting: queue.Queue[_Heard | Exception] = queue.Queue(_MOST_WAITING)

    def __iter__(self) -> Iterator[Event]:
        for listener in self._listeners:
            threading.Thread(
                target=self._hear,
                args=(listener,),
                name="huey-otel-hearing",
                daemon=True,
            ).start()
        while True:
            try:
                heard = self._waiting.get(timeout=_TICK)
            except queue.Empty:
                self._say_what_is_skipped()
                raise_if_unread()
                yield from self._what_no_stream_has()
                continue
            if isinstance(heard, Exception):
                raise heard
            listener, event, missing, trimmed = heard
            overheard = self._overheard.get(listener)
            if overheard is not None:
                if not overheard.is_new(event):
                    continue
                missing = overheard.still(missing)
            self._say_what_is_skipped()
            if trimmed:
                say(f"{_counted(trimmed)} trimmed before they were read")
            if missing:
                say(f"{_counted(missing)} missed")
            if self._has_numbers and "seq" not in event:
                self._has_numbers = False
                say(
                    "an event has no number, as those of older versions have none;"
                    " how many of such events are missing is not known"
                )
            yield event

    @untraced()
    def _hear(self, listener: EventListener) -> None:
        said = told = 0
        try:
            for event in listener:
                trimmed = listener.trimmed or told
                # What was trimmed is missing as well, and said once.
                missed = listener.missed - trimmed
                more = max(0, missed - said), max(0, trimmed - told)
                self._waiting.put(_Heard(listener, event, *more))
                # The number of the missing falls when an event comes late.
                said, told = max(said, missed), max(told, trimmed)
        except Exception as error:  # noqa: BLE001 - raised again by the main thread
            self._waiting.put(error)

    def _what_no_stream_has(self) -> Iterator[Event]:
        """Events that were published, and that a silent stream has not."""
        for overheard in self._overheard.values():
            for event in overheard.late():
                key = overheard.source.key
                if key not in self._lacking:
                    self._lacking.add(key)
                    say(
                        f"events are published that are not in the stream {key!r}, and"
                        " shown some seconds late: huey-otel check looks closer"
                    )
                yield event

    def _say_what_is_skipped(self) -> None:
        for listener in self._listeners:
            if listener.skipped and listener.channel not in self._skipping:
                self._skipping.add(listener.channel)
                say(f"messages on {listener.channel!r} that are no events are skipped")


def _listening(source: Source, since: str | None) -> EventListener:
    """A listener to *source*, from its stream *since* then, unless that is None."""
    stream = None if since is None else source.key
    try:
        return EventListener(source.redis, source.channel, stream=stream, since=since)
    except ValueError as error:
        # An id in the future.
        said = str(error).removeprefix("since=")
        raise CannotLookError(f"--since {said}") from None


def _say_what_is_heard(sources: Sequence[Source], how: str) -> None:
    if sources:
        channels = ", ".join(repr(source.channel) for source in sources)
        say(f"events on {channels} of {sources[0].redis.address} {how}")


def _counted(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


class _Saying(logging.Handler):
    """Says what a listener logs."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
