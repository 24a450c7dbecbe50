"""The words of the queries.

Each consumer counts its own tasks: counters are summed. All consumers of a queue report
the same gauges of its storage: max, never sum. A consumer is an `instance` where it
serves its own page, and a `consumer` of an `instance` on the exporter's page.
"""

from dataclasses import dataclass
from typing import Final

SUCCESS: Final = 'outcome="success"'
FAILED: Final = 'outcome=~"failure|timeout|lost"'
# Revoked, expired, canceled and refused tasks neither succeeded nor failed.
RAN: Final = 'outcome=~"success|failure|timeout|lost"'
SCHEDULES: Final = 'periodic="true"'

TASK: Final = "queue, task"
CONSUMER: Final = "instance, consumer, queue"
"""What tells one consumer from another, to join on."""

NOT_KNOWN: Final = "vector(NaN)"
"""Tiles show it as a word: without a value, Grafana takes the lowest colour."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The series that are asked for, as matchers."""

    matchers: str

    def __call__(self, metric: str, *more: str) -> str:
        """Give *metric* of this scope, and of *more* matchers."""
        return f"{metric}{{{', '.join((self.matchers, *more))}}}"

    def within(self, *more: str) -> "Scope":
        """Give a smaller scope."""
        return Scope(", ".join((self.matchers, *more)))


TARGETS: Final = Scope('job=~"$job", namespace=~"$namespace"')
"""For `up`, which knows of no queue."""

QUEUES: Final = TARGETS.within('queue=~"$queue"')

WHERE_KNOWN: Final = Scope('job=~"$job|", namespace=~"$namespace|", queue=~"$queue|"')
"""For series that may lack these labels: alerts, and losses of a whole process."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time to look back, as PromQL writes it, and its seconds as a number."""

    text: str
    seconds: str

    def __str__(self) -> str:
        return self.text


RANGE: Final = Window("$__range", "$__range_s")
STEP: Final = Window("$__interval", "$__interval_ms / 1000")
RATE: Final = Window("$__rate_interval", "$__rate_interval_ms / 1000")


def total(values: str, *by: str) -> str:
    """Sum *values*, by these labels."""
    return f"sum by ({', '.join(by)}) ({values})" if by else f"sum({values})"


def most(values: str, *by: str) -> str:
    """Take the largest of *values*, by these labels."""
    return f"max by ({', '.join(by)}) ({values})" if by else f"max({values})"


def increase(counter: str, window: Window = RANGE) -> str:
    """How much each series of *counter* rose."""
    return f"increase({counter}[{window}])"


def rate(counter: str, window: Window | str = RATE) -> str:
    """How much each series of *counter* rose a second."""
    return f"rate({counter}[{window}])"


def counted(scope: Scope, metric: str, *more: str, window: Window = RANGE) -> str:
    """Give the increase of each series, its first count included.

    increase() does not see the count that a series begins with. It is new if the
    consumer was there before without it, or has started since.
    """
    counter = scope(metric, *more)
    start = TARGETS("huey_consumer_start_time_seconds")
    first = (
        f"min_over_time({counter}[{window}]) unless {counter} offset {window} "
        f"and on (instance, consumer) ({start} offset {window} "
        f"or {start} > time() - {window.seconds})"
    )
    return (
        f'({increase(counter, window)} or label_replace({first}, "first", "1", "", ""))'
    )


def busy_workers(scope: Scope, window: Window | str) -> str:
    """Give how many workers of each consumer are busy: a gauge may beat with the load.

    Of those consumers that are there: one that was killed is in the rate for as long as
    that looks back.
    """
    busy = rate(scope("huey_worker_busy_seconds_total"), window)
    return f"({busy} and on ({CONSUMER}) {scope('huey_workers')})"


def share(part: str, whole: str, *by: str) -> str:
    """Give *part* of *whole*; no value, instead of NaN, where there is no whole."""
    on = f" on ({', '.join(by)})" if by else ""
    return f"{total(part, *by)} /{on} ({total(whole, *by)} > 0)"


def percentile(part: float, buckets: str, *by: str, window: Window | str = RATE) -> str:
    """Give the *part* (0.95) of what *buckets* have seen, by these labels."""
    seen = total(rate(buckets, window), *by, "le")
    return f"histogram_quantile({part}, {seen})"


def short(values: str, label: str = "task") -> str:
    """Put the last word of a dotted *label* into the label `name`.

    A label of its own, since tasks of two modules may have one name.
    """
    # One that ends in a dot has a name as well.
    last = "(?:.*[.])?([^.]+[.]*|.+)"
    return f'label_replace({values}, "name", "$1", "{label}", "{last}")'


def who(values: str) -> str:
    """Put what a consumer is called into the label `name`, whatever page it is on."""
    instance = f'label_replace({values}, "name", "$1", "instance", "(.+)")'
    return f'label_replace({instance}, "name", "$1", "consumer", "(.+)")'


def top(number: int, values: str, ranking: str, on: str) -> str:
    """Keep of *values* the *number* with the highest *ranking* above 0."""
    return f"{values} and on ({on}) topk({number}, {ranking} > 0)"


def others(number: int, values: str, ranking: str, on: str) -> str:
    """Sum of *values* what `top` leaves out."""
    return f"sum({values} unless on ({on}) topk({number}, {ranking} > 0)) > 0"


def over_the_range(values: str) -> str:
    """*values*, increase() or *_over_time of `[RANGE]`, for the whole time shown.

    So that a series which is among the top ones is there from end to end.
    """
    return values.replace(f"[{RANGE}]", f"[{RANGE}] @ end()")


def or_else(*values: str) -> str:
    """Give the first of *values* that there is."""
    return " or ".join(values)
