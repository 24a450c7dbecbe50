"""What every alert has: its labels, its text, its runbook and its dashboard."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.prometheus.rules.rule import Rule
from runtime.prometheus.rules.settings import Settings
from runtime.prometheus.rules.terms import Terms

OVERVIEW = "huey-overview"
TASK = "huey-task"
CONSUMERS = "huey-consumers"

WHO = "{{ with $labels.consumer }}{{ . }}{{ else }}{{ $labels.instance }}{{ end }}"
"""The consumer that an alert is about: behind an exporter, or a target itself."""

QUEUE = "{{ $labels.queue }}"
TASK_NAME = "{{ $labels.task }}"

OF_QUEUE = ("queue",)
OF_TASK = ("queue", "task")
OF_TARGET = ("queue", "instance")
OF_CONSUMER = ("queue", "instance", "consumer")
"""The labels of alerts, beside those of the grouping, that a dashboard has."""

_OF_ENVIRONMENT = ("job", "namespace")
"""Labels of the grouping that a dashboard has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert before the settings are known. `expr` makes it of terms and limits.

    `about` are the labels that its dashboard is to show, beside those of the grouping;
    only an alert about who enqueues has no job.
    """

    name: str
    expr: Callable[[Terms, Any], str]
    summary: str
    description: str
    dashboard: str
    about: tuple[str, ...]
    has_job: bool = True
    why: str = ""

    def rule(self, settings: Settings) -> Rule:
        """The alert as *settings* have it."""
        own = settings.alerts[self.name]
        terms = Terms(
            settings,
            (*settings.ignore_queues, *own.ignore_queues),
            (*settings.ignore_tasks, *own.ignore_tasks),
        )
        limits = _Limits({**own.limits, "for": own.holds_for})
        return Rule(
            alert=self.name,
            why=self.why,
            expr=self.expr(terms, limits),
            holds_for=own.holds_for,
            labels={**settings.labels, "severity": own.severity},
            annotations=annotations(
                settings,
                self.name,
                summary=self.summary,
                description=limits.filled(self.description),
                dashboard=self.dashboard,
                about=self.about,
                has_job=self.has_job,
            ),
        )


class _Limits:
    """The limits of an alert, as they are written in PromQL and in a description."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self._limits = {key: _text(value) for key, value in limits.items()}

    def __getattr__(self, name: str) -> str:
        return self._limits[name]

    def filled(self, text: str) -> str:
        """*text* with each `<limit>` in it replaced."""
        for key, value in self._limits.items():
            text = text.replace(f"<{key}>", value)
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"


def annotations(
    settings: Settings,
    alert: str,
    *,
    summary: str,
    description: str,
    dashboard: str,
    about: tuple[str, ...],
    has_job: bool = True,
) -> dict[str, str]:
    """The annotations of the alert named *alert*."""
    grouping = [name for name in _OF_ENVIRONMENT if name in settings.grouping]
    shown = [name for name in grouping if has_job or name != "job"]
    query = "".join(
        f"{{{{ with $labels.{name} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
        for name in (*shown, *about)
    )
    told = {
        "summary": summary,
        "description": " ".join(description.split()),
        "runbook_url": f"{settings.runbook_url}#{alert.lower()}",
    }
    if settings.dashboard_url:
        link = f"{settings.dashboard_url}/{dashboard}?from=now-3h{query}"
        told["dashboard_url"] = link
    return told
