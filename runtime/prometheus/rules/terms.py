"""The terms of rules: selected series, and the labels by which they are joined."""

import re
from collections.abc import Iterable, Sequence

from runtime.prometheus.rules.rule import quoted
from runtime.prometheus.rules.settings import Matcher, Settings

FAILED = 'outcome=~"failure|timeout|lost"'
# Revoked, expired, canceled and refused tasks neither succeeded nor failed.
RAN = 'outcome=~"success|failure|timeout|lost"'


class Terms:
    """The words of one rule: *settings*, and what this rule ignores besides.

    The labels by which rules aggregate and join. A consumer is an `instance`, or behind
    an exporter's instance a `consumer`; what is absent of them is the same everywhere.
    """

    def __init__(
        self,
        settings: Settings,
        ignore_queues: Iterable[str] = (),
        ignore_tasks: Iterable[str] = (),
    ) -> None:
        self._settings = settings
        self._ignored = [
            *_unless("queue", ignore_queues),
            *_unless("task", ignore_tasks),
        ]
        self.q = self.by("queue")
        self.qt = self.by("queue", "task")
        self.target = self.by("instance")
        self.i = self.by("instance", "consumer", "queue")
        self.it = self.by("instance", "consumer", "queue", "task")
        # Who enqueues is in another job than who runs.
        self.env_q = self.env_by("queue")

    def by(self, *labels: str) -> str:
        """The labels of the grouping, and *labels*."""
        return ", ".join((*self._settings.grouping, *labels))

    def env_by(self, *labels: str) -> str:
        """Likewise, without the job."""
        grouping = [label for label in self._settings.grouping if label != "job"]
        return ", ".join((*grouping, *labels))

    def m(self, name: str, *matchers: str) -> str:
        """The series *name* of the consumers that were selected, by *matchers* too."""
        return self._chosen(name, self._settings.selector, matchers)

    def made(self, name: str, *matchers: str) -> str:
        """The series *name* of all that enqueue in what was selected."""
        selector = [one for one in self._settings.selector if one.label != "job"]
        return self._chosen(name, (*selector, *self._settings.producers), matchers)

    def _chosen(
        self, name: str, selector: Sequence[Matcher], matchers: Iterable[str]
    ) -> str:
        if ":" in name:
            # A recorded series has the labels of the grouping alone.
            grouping = self._settings.grouping
            selector = [one for one in selector if one.label in grouping]
        return _series(name, [one.text for one in selector], self._ignored, matchers)

    def up(self) -> str:
        """The `up` of targets that should be consumers."""
        return self._up(self._settings.targets)

    def expected(self) -> list[str]:
        """The `up` of each set of targets of which there must be at least one."""
        return [self._up(some) for some in self._settings.expected]

    def _up(self, matchers: Sequence[Matcher]) -> str:
        chosen = (*self._settings.selector, *matchers)
        return _series("up", [one.text for one in chosen])


def _series(name: str, *matchers: Iterable[str]) -> str:
    found = list(dict.fromkeys(one for some in matchers for one in some))
    return f"{name}{{{', '.join(found)}}}" if found else name


def _unless(label: str, patterns: Iterable[str]) -> list[str]:
    """The matcher that leaves out what matches one of *patterns*."""
    either = "|".join(dict.fromkeys(patterns))
    return [f"{label}!~{quoted(either)}"] if either else []


def le(bound: float) -> str:
    """The matcher of a bucket. Prometheus 3 writes 30.0, what it scrapes perhaps 30."""
    text = f"{bound:g}"
    if re.fullmatch(r"\d+", text):
        return f"le=~{quoted(rf'{text}([.]0)?')}"
    return f"le={quoted(repr(float(bound)))}"
