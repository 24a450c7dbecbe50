"""The table: every option, with its variable, its default and what it is for."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel._options import values
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._options.values import Kind
from huey_otel._safety.encodable import printable
from huey_otel._safety.redaction import shown
from huey_otel._safety.shutdown import FLUSH_TIMEOUT

_PREFIX: Final = "HUEY_OTEL_"

METRICS_HOST: Final = "localhost"
METRICS_PORT: Final = 9464
"""What OpenTelemetry's own exporter for Prometheus listens on by default."""

PAGE_INTERVAL: Final = 5.0
LONGEST_PAGE_INTERVAL: Final = 200.0
"""Seconds: a page that was not renewed three times is gone after ten minutes."""


class Option(NamedTuple):
    """One option of `instrument()`.

    `standard` is OpenTelemetry's variable that counts when ours is not set; a wrong
    value there is ignored with a warning, as its specification wants. `shown_default`
    is the default for people, where it is not the value.
    """

    name: str
    kind: Kind
    default: Any
    purpose: str
    standard: str = ""
    shown_default: str = ""

    @property
    def variable(self) -> str:
        """Its name in the environment, empty where no text can say the value."""
        return f"{_PREFIX}{self.name.upper()}" if self.kind.is_text else ""

    @property
    def default_text(self) -> str:
        """The default, for people."""
        if self.shown_default:
            return self.shown_default
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return f"{self.default:g}" if isinstance(self.default, float) else self.default

    def argument(self, value: object) -> Any:
        """The setting that the argument *value* means; TypeError or ValueError.

        A text means the same as in the environment.
        """
        called = f"{self.name}={shown(value)}"
        if isinstance(value, str) and self.variable:
            return self.kind.meant(value, called)
        return self.kind.checked(value, called)

    def text(self, text: str, variable: str) -> Any:
        """The setting that *text*, found in *variable*, means; ValueError."""
        return self.kind.meant(text, f"{variable}={shown(text)}")


_ROWS: Final = (
    Option(
        name="events",
        kind=values.EVENTS,
        default=True,
        shown_default="the queue's own Redis",
        purpose="where events go: another Redis by its URL or by a"
        " `RedisEventEmitter(url= | client= | connection_pool=, channel=)`;"
        " `otlp` for [log records](docs/events.md#as-opentelemetry-log-records),"
        " `redis,otlp` for both, `off` (None) for nowhere",
    ),
    Option(
        name="channel",
        kind=values.CHANNEL,
        default=None,
        shown_default="the queue's name in Redis",
        purpose="the channel on which events are published:"
        " [docs/events.md](docs/events.md#the-channel)",
    ),
    Option(
        name="publish_enqueued",
        kind=values.FLAG,
        default=False,
        purpose="also publish an event `enqueued` for each task put on the queue",
    ),
    Option(
        name="tracebacks",
        kind=values.FLAG,
        default=True,
        purpose="`off`: only the class of an exception leaves the process:"
        " [docs/events.md](docs/events.md#private-data)",
    ),
    Option(
        name="stream",
        kind=values.STREAM,
        default=None,
        shown_default="off",
        purpose="`on`: Redis keeps the last 10,000 events, for listeners that were"
        " away; or how many events, or the stream's key:"
        " [docs/events.md](docs/events.md#the-stream)",
    ),
    Option(
        name="flush_timeout",
        kind=values.SECONDS,
        default=FLUSH_TIMEOUT,
        purpose="how many seconds a consumer's shutdown waits for telemetry at most; a"
        " process that only enqueues waits 1",
    ),
    Option(
        name="publish_metrics",
        kind=values.interval(PAGE_INTERVAL, LONGEST_PAGE_INTERVAL),
        default=None,
        shown_default="off",
        purpose="every how many seconds the consumer leaves its metrics in Redis, for"
        " `huey-otel exporter`; `on` is every 5: [docs/scale.md](docs/scale.md)",
    ),
    Option(
        name="tracer_provider",
        kind=values.instance(
            "an opentelemetry.trace.TracerProvider, or None", "get_tracer"
        ),
        default=None,
        shown_default="the application's, else as `OTEL_*` says",
        purpose="where spans go: [docs/traces.md](docs/traces.md#where-spans-go)",
    ),
    Option(
        name="propagation",
        kind=values.choice(
            *n.PROPAGATIONS, call="a callable that returns one of these for a task"
        ),
        default=n.PROPAGATE_AUTO,
        purpose="an attempt is a `child` of its enqueue, has a `link` to it, or `none`;"
        " `auto` is a child, and a link after a delay of over `link_after`:"
        " [docs/traces.md](docs/traces.md#how-far-a-trace-goes)",
    ),
    Option(
        name="link_after",
        kind=values.SECONDS,
        default=600.0,
        purpose="seconds; after a longer deliberate delay an attempt begins a new"
        " trace",
    ),
    Option(
        name="span_naming",
        kind=values.choice(*n.SPAN_NAMINGS),
        default=n.NAMING_TASK,
        purpose="`queue` names spans strictly by the semantic conventions",
    ),
    Option(
        name="envelope",
        kind=values.FLAG,
        default=False,
        purpose="send the trace context with messages that are not pickled, too:"
        " [docs/traces.md](docs/traces.md#serializers)",
    ),
    Option(
        name="semconv_metrics",
        kind=values.FLAG,
        default=False,
        purpose="also export the metrics of OpenTelemetry's conventions:"
        " [docs/traces.md](docs/traces.md#the-conventions-metrics)",
    ),
    Option(
        name="meter_provider",
        kind=values.instance(
            "an opentelemetry.metrics.MeterProvider, or None", "get_meter"
        ),
        default=None,
        shown_default="as `OTEL_*` says, else the application's",
        purpose="where the metrics of `semconv_metrics` go",
    ),
    Option(
        name="logger_provider",
        kind=values.instance(
            "an opentelemetry._logs.LoggerProvider, or None", "get_logger"
        ),
        default=None,
        shown_default="the application's, else as `OTEL_*` says",
        purpose="where log records go, if `events` has `otlp`",
    ),
    Option(
        name="registry",
        kind=values.instance(
            "a prometheus_client.CollectorRegistry, or None",
            *("register", "unregister", "collect"),
        ),
        default=None,
        shown_default="prometheus_client's own",
        purpose="the Prometheus registry of the metrics",
    ),
    Option(
        name="metrics_host",
        standard="OTEL_EXPORTER_PROMETHEUS_HOST",
        kind=values.HOST,
        default=METRICS_HOST,
        purpose="the address on which the consumer serves `/metrics`",
    ),
    Option(
        name="metrics_port",
        standard="OTEL_EXPORTER_PROMETHEUS_PORT",
        kind=values.port(METRICS_PORT),
        default=METRICS_PORT,
        shown_default=str(METRICS_PORT),
        purpose="the port; 0 picks a free one, `off` (None) serves nothing",
    ),
    Option(
        name="stuck_after",
        kind=values.SECONDS,
        default=600.0,
        purpose="seconds; after a longer silence `huey_consumer_stuck` is 1:"
        " [docs/metrics.md](docs/metrics.md#is-it-stuck)",
    ),
    Option(
        name="duration_buckets",
        kind=values.BUCKETS,
        default=DURATION_BUCKETS,
        shown_default="5 ms to 1 h",
        purpose="bounds of the histogram of durations, in seconds",
    ),
    Option(
        name="wait_buckets",
        kind=values.BUCKETS,
        default=WAIT_BUCKETS,
        shown_default="5 ms to 30 min",
        purpose="bounds of the histogram of waits, in seconds",
    ),
)

OPTIONS: Final[Mapping[str, Option]] = {row.name: row for row in _ROWS}
"""The options by name, in the order in which people are shown them."""

DISABLED: Final = Option(
    name="disabled",
    kind=values.FLAG,
    default=False,
    purpose="`1` turns huey-otel off: `instrument` observes nothing",
)
"""A variable without an argument: it turns telemetry off without a change of code."""

VARIABLES: Final = {
    row.variable: row.name for row in (*_ROWS, DISABLED) if row.variable
}
"""The options' names by their variables."""


def unknown(
    names: Iterable[object],
    known: Collection[str] = OPTIONS,
    who: str = "instrument()",
) -> str:
    """The error text for *names* that are none of the options *known* to *who*."""
    said = ", ".join(
        f"{name}{nearest(name, known)}" for name in sorted(map(str, names))
    )
    return f"{who} does not know {said}; accepted are {', '.join(known)}"


def unknown_variables(env: Mapping[str, str]) -> list[str]:
    """Warnings of variables in *env* that look like ours and are none."""
    warnings = []
    for variable in sorted(env):
        name = re.sub("^huey_?otel_", "", variable, flags=re.IGNORECASE)
        if name != variable and variable not in VARIABLES:
            # By the names alone: the prefix makes all variables alike.
            like = _like(name, VARIABLES.values())
            question = f" (did you mean {_PREFIX}{like.upper()}?)" if like else ""
            warnings.append(
                f"{printable(variable)} is no setting of huey-otel and has no effect"
                f"{question}"
            )
    return warnings


def nearest(name: str, known: Iterable[str]) -> str:
    """The question whether the most similar of *known* was meant, if any is."""
    found = _like(name, known)
    return f" (did you mean {found}?)" if found else ""


def _like(name: str, known: Iterable[str]) -> str | None:
    # Only for mistakes, and every import of ours would wait for it.
    from difflib import get_close_matches

    known, name = list(known), name.lower()
    ending = [one for one in known if name and one.endswith(f"_{name}")]
    return next(iter([*ending, *get_close_matches(name, known, n=1)]), None)
