"""Exporters as the environment asks for them, of spans and of log records."""

from collections.abc import Callable
from typing import Any

import requests

from huey_otel._options.export import CREDENTIALS, Export
from huey_otel._options.otel_variables import GRPC, HTTP, Instead, replaced
from huey_otel._otel import answers, resource, transports
from huey_otel._otel.encoder import with_light_encoder
from huey_otel._otel.entry_points import load_entry_point
from huey_otel._safety.failures import class_name, message


def load(export: Export, group: str) -> None:
    """Import all that the exporters of *group* need which *export* names."""
    for name in export.exporters:
        load_entry_point(group, name)
    if GRPC in export.exporters:
        transports.load_grpc()
    if export.credentials and HTTP in export.exporters:
        load_entry_point(CREDENTIALS, export.credentials)
    if export.detectors:
        resource.load(export.detectors)


def maker_of(
    name: str, make: Callable[..., Any], export: Export, instead: Instead
) -> Callable[[], Any]:
    """Return what makes the exporter *name* by its entry point *make*.

    OpenTelemetry reads *instead* of what is set.
    """
    asked = export.asked(name)
    new_session: Callable[[], requests.Session] = requests.Session
    if name == HTTP and export.credentials:
        new_session = load_entry_point(CREDENTIALS, export.credentials)
    if name == GRPC:
        transports.let_grpc_use_gevent()

    def made() -> Any:
        with replaced(instead):
            if name == HTTP:
                renewed = transports.SessionRenewal(new_session())
                renewed.session.hooks["response"].append(answers.note_response)
                asked["session"] = renewed.session
            exporter = with_light_encoder(make(**asked))
            if name == GRPC:
                from huey_otel._otel.grpc_answers import listened_to

                return transports.BetweenForks(listened_to(exporter))
            return exporter

    return made


def not_made(name: str, error: Exception) -> str:
    """Say that the exporter *name* cannot be made, and why."""
    return f"the exporter {name} cannot be made: {class_name(error)}: {message(error)}"
