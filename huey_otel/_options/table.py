"""The table: every option, with its variable, its default and what it is for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from huey_otel import _names as n
from huey_otel._options import values
from huey_otel._options.values import Kind
from huey_otel._safety.encodable import printable
from huey_otel._safety.redaction import shown
from huey_otel._safety.shutdown import FLUSH_TIMEOUT

METRICS_HOST: Final = "localhost"
METRICS_PORT: Final = 9464
"""What OpenTelemetry's own exporter for Prometheus listens on by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of `instrument()`.

    `variable` is its name in the environment, empty for an object that no text can
    say. `standard` is the variable of OpenTelemetry's that is asked when ours is not
    set; as its specification wants, a wrong value there is ignored with a warning.
    `shown_default` says the default to people where the value does not. `types` is
    what a signature shows.
    """

    name: str
    kind: Kind
    default: Any
    purpose: str
    variable: str = ""
    standard: str = ""
    shown_default: str = ""
    types: str = ""

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

        A text means what it means in the environment.
        """
        if isinstance(value, str) and self.variable:
            return self.text(value, self.name)
        return self._checked(value, f"{self.name}={shown(value)}")

    def text(self, text: str, variable: str) -> Any:
        """The setting that *text* means, which is in *variable*; ValueError."""
        called = f"{variable}={shown(text)}"
        try:
            value = self.kind.read(text)
        except ValueError:
            raise ValueError(f"{called}: expected {self.kind.accepted}") from None
        try:
            return self._checked(value, called)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _checked(self, value: object, called: str) -> Any:
        try:
            return self.kind.check(value)
        except values.RefusedError as refused:
            reason = f"; {refused.reason}" if refused.reason else ""
            error = TypeError if refused.wrong_type else ValueError
            raise error(f"{called}: expected {self.kind.accepted}{reason}") from None


_ROWS: Final = (
    Option(
        name="events",
        variable=n.ENV_EVENTS,
        kind=values.EVENTS,
        default=True,
        shown_default="the queue's own Redis",
        types="RedisEventEmitter | str | bool | None",
        purpose="where the consumer's events are published: on another Redis by its URL"
        " or a `RedisEventEmitter(url= | client= | connection_pool=, channel=)`,"
        " `off` (None) for nowhere",
    ),
    Option(
        name="channel",
        variable=n.ENV_CHANNEL,
        kind=values.CHANNEL,
        default=None,
        shown_default="the queue's name in Redis",
        types="str | None",
        purpose="the channel of the events",
    ),
    Option(
        name="publish_enqueued",
        variable=n.ENV_PUBLISH_ENQUEUED,
        kind=values.FLAG,
        default=False,
        types="bool | str",
        purpose="an event `enqueued` for each task put on the queue, too",
    ),
    Option(
        name="tracebacks",
        variable=n.ENV_TRACEBACKS,
        kind=values.FLAG,
        default=True,
        types="bool | str",
        purpose="`off`: nothing of an exception but its class leaves the process",
    ),
    Option(
        name="flush_timeout",
        variable=n.ENV_FLUSH_TIMEOUT,
        kind=values.SECONDS,
        default=FLUSH_TIMEOUT,
        types="float",
        purpose="seconds that a shutdown waits for telemetry at most; a process that"
        " only enqueues waits 1",
    ),
    Option(
        name="tracer_provider",
        kind=values.instance(
            "an opentelemetry.trace.TracerProvider, or None", "get_tracer"
        ),
        default=None,
        shown_default="the application's, else as `OTEL_*` says",
        types="TracerProvider | None",
        purpose="where spans go, see [docs/traces.md](docs/traces.md)",
    ),
    Option(
        name="propagation",
        variable=n.ENV_PROPAGATION,
        kind=values.choice(
            *n.PROPAGATIONS, call="a callable that returns one of these for a task"
        ),
        default=n.PROPAGATE_AUTO,
        types="str | Callable[[Task], str]",
        purpose="whether an attempt is a `child` of its enqueue, has a `link` to it,"
        " or `none`; `auto` links what was put off for more than `link_after`",
    ),
    Option(
        name="link_after",
        variable=n.ENV_LINK_AFTER,
        kind=values.SECONDS,
        default=600.0,
        types="float",
        purpose="seconds of a delay past which an attempt begins a trace of its own",
    ),
    Option(
        name="span_naming",
        variable=n.ENV_SPAN_NAMING,
        kind=values.choice(*n.SPAN_NAMINGS),
        default=n.NAMING_TASK,
        types="str",
        purpose="`queue` names spans strictly by the semantic conventions",
    ),
    Option(
        name="envelope",
        variable=n.ENV_ENVELOPE,
        kind=values.FLAG,
        default=False,
        types="bool | str",
        purpose="context also in messages that are not pickle's:"
        " [docs/traces.md](docs/traces.md#serializers)",
    ),
    Option(
        name="semconv_metrics",
        variable=n.ENV_SEMCONV_METRICS,
        kind=values.FLAG,
        default=False,
        types="bool | str",
        purpose="the conventions' own metrics as well:"
        " [docs/traces.md](docs/traces.md#the-conventions-metrics)",
    ),
    Option(
        name="meter_provider",
        kind=values.instance(
            "an opentelemetry.metrics.MeterProvider, or None", "get_meter"
        ),
        default=None,
        shown_default="as `OTEL_*` says, else the application's",
        types="MeterProvider | None",
        purpose="where those go",
    ),
    Option(
        name="registry",
        kind=values.instance(
            "a prometheus_client.CollectorRegistry, or None",
            *("register", "unregister", "collect"),
        ),
        default=None,
        shown_default="prometheus_client's own",
        types="CollectorRegistry | None",
        purpose="where the metrics are",
    ),
    Option(
        name="metrics_host",
        variable=n.ENV_METRICS_HOST,
        standard=n.ENV_OTEL_HOST,
        kind=values.HOST,
        default=METRICS_HOST,
        types="str",
        purpose="where the consumer serves its metrics",
    ),
    Option(
        name="metrics_port",
        variable=n.ENV_METRICS_PORT,
        standard=n.ENV_OTEL_PORT,
        kind=values.port(METRICS_PORT),
        default=METRICS_PORT,
        shown_default=str(METRICS_PORT),
        types="int | str | None",
        purpose="its port; 0 picks a free one, `off` (None) serves nothing",
    ),
    Option(
        name="duration_buckets",
        variable=n.ENV_DURATION_BUCKETS,
        kind=values.BUCKETS,
        default=n.DURATION_BUCKETS,
        shown_default="5 ms to 1 h",
        types="Iterable[float]",
        purpose="of the histogram of durations, in seconds",
    ),
    Option(
        name="wait_buckets",
        variable=n.ENV_WAIT_BUCKETS,
        kind=values.BUCKETS,
        default=n.WAIT_BUCKETS,
        shown_default="5 ms to 30 min",
        types="Iterable[float]",
        purpose="of the histogram of waits, in seconds",
    ),
)

OPTIONS: Final[Mapping[str, Option]] = {row.name: row for row in _ROWS}
"""The options by name, in the order in which people are shown them."""

DISABLED: Final = Option(
    name="",
    variable=n.ENV_DISABLED,
    kind=values.FLAG,
    default=False,
    purpose="`1`: `instrument` observes nothing",
)
"""A variable alone: who turns telemetry off does not want to change the code."""

VARIABLES: Final = tuple(row.variable for row in (*_ROWS, DISABLED) if row.variable)


def unknown(names: Iterable[object]) -> str:
    """Say that none of *names* is an option, and which there are."""
    said = ", ".join(
        f"{name}{nearest(name, OPTIONS)}" for name in sorted(map(str, names))
    )
    return f"instrument() does not know {said}; accepted are {', '.join(OPTIONS)}"


def unknown_variables(env: Mapping[str, str]) -> list[str]:
    """Warnings of the variables in *env* that look like ours and are none."""
    return [
        f"{printable(name)} is no setting of huey-otel and has no effect"
        f"{_nearest_variable(name)}"
        for name in sorted(env)
        if _bare(name) != name and name not in VARIABLES
    ]


def _nearest_variable(name: str) -> str:
    # By what parts them: the prefix makes all of them alike.
    known = {_bare(one).lower(): one for one in VARIABLES}
    found = _like(_bare(name), known)
    return f" (did you mean {known[found]}?)" if found else ""


def _bare(name: str) -> str:
    """What is left of a variable's name without our prefix, however it is spelled."""
    return re.sub("^huey_?otel_", "", name, flags=re.IGNORECASE)


def nearest(name: str, known: Iterable[str]) -> str:
    """A question whether the one of *known* was meant that is most like *name*."""
    found = _like(name, known)
    return f" (did you mean {found}?)" if found else ""


def _like(name: str, known: Iterable[str]) -> str | None:
    known, name = list(known), name.lower()
    ending = [one for one in known if name and one.endswith(f"_{name}")]
    return next(iter([*ending, *get_close_matches(name, known, n=1)]), None)
