"""Settings: an argument beats the environment, which beats the default."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from huey.api import Task

from huey_otel._options import table
from huey_otel._options.export import Export, read_export
from huey_otel._options.otel_variables import LOGS, METRICS, exceptions_on_spans
from huey_otel._options.table import OPTIONS, Option
from huey_otel._options.values import Stream, WithLogs

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from prometheus_client import CollectorRegistry

Propagation = str | Callable[[Task], str]
"""`auto`, `child`, `link`, `none`, or a callable that returns one for a task."""


class Exposed(NamedTuple):
    """Where metrics are served, and their buckets. `port` None is nowhere."""

    host: str
    port: int | None
    duration_buckets: tuple[float, ...]
    wait_buckets: tuple[float, ...]


class Settings(NamedTuple):
    """The checked settings of one instrumented huey.

    `events` is False for nowhere, True for the queue's own storage, a Redis URL, or
    the object that was given. `logs_export` is None unless events go out as log
    records. `channel` None is the queue's name. `stream` None is none. `flush_timeout`,
    `stuck_after` and `publish_metrics` (None for never) are in seconds. `warnings` name
    what is ignored in the environment. `exceptions_on_spans` is False where only log
    records have the exceptions of attempts.
    """

    disabled: bool
    events: Any
    channel: str | None
    publish_enqueued: bool
    tracebacks: bool
    stream: Stream | None
    flush_timeout: float
    publish_metrics: float | None
    tracer_provider: "TracerProvider | None"
    propagation: Propagation
    link_after: float
    span_naming: str
    envelope: bool
    semconv_metrics: bool
    meter_provider: "MeterProvider | None"
    logger_provider: "LoggerProvider | None"
    registry: "CollectorRegistry | None"
    export: Export
    metrics_export: Export
    logs_export: Export | None
    exposed: Exposed
    stuck_after: float
    warnings: tuple[str, ...] = ()
    exceptions_on_spans: bool = True


def read(given: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Settings:
    """Merge the arguments *given* with *env*, by default the process' environment.

    Raises TypeError or ValueError for what is not accepted; the error says what is.
    With HUEY_OTEL_DISABLED the environment is read as far as it can be.
    """
    # Empty is unset, as everywhere in OpenTelemetry.
    env = {
        name: value
        for name, value in (os.environ if env is None else env).items()
        if value.strip()
    }
    if given.keys() - OPTIONS.keys():
        raise TypeError(table.unknown(given.keys() - OPTIONS.keys()))
    if not _from(table.DISABLED, {}, env, []):
        return _read(given, env, disabled=False)
    try:
        return _read(given, env, disabled=True)
    except ValueError:
        # HUEY_OTEL_DISABLED must work even if another variable is invalid.
        return _read(given, {}, disabled=True)


def _read(
    given: Mapping[str, Any], env: Mapping[str, str], *, disabled: bool
) -> Settings:
    warnings = table.unknown_variables(env)
    setting = {name: _from(row, given, env, warnings) for name, row in OPTIONS.items()}
    events = setting.pop("events")
    with_logs = isinstance(events, WithLogs)
    on_spans = exceptions_on_spans(env, warnings, with_logs=with_logs)
    return Settings(
        disabled=disabled,
        events=events.redis if with_logs else events,
        exposed=Exposed(
            host=setting.pop("metrics_host"),
            port=setting.pop("metrics_port"),
            duration_buckets=setting.pop("duration_buckets"),
            wait_buckets=setting.pop("wait_buckets"),
        ),
        export=read_export(env),
        metrics_export=read_export(env, METRICS),
        logs_export=read_export(env, LOGS) if with_logs else None,
        warnings=tuple(warnings),
        exceptions_on_spans=on_spans,
        **setting,
    )


def _from(
    option: Option,
    given: Mapping[str, Any],
    env: Mapping[str, str],
    warnings: list[str],
) -> Any:
    if option.name in given:
        return option.argument(given[option.name])
    if option.variable in env:
        return option.text(env[option.variable], option.variable)
    if option.standard in env:
        try:
            return option.text(env[option.standard], option.standard)
        except ValueError as error:
            warnings.append(f"{error}; ignored")
    return option.default
