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

_VARIABLES = {
    OVERVIEW: ("job", "namespace", "queue"),
    TASK: ("job", "namespace", "queue", "task"),
    CONSUMERS: ("job", "namespace", "queue", "instance"),
}
"""The variables of each dashboard that a label of an alert may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert before the settings are known. `expr` makes it of terms and limits."""

    name: str
    expr: Callable[[Terms, Any], str]
    summary: str
    description: str
    dashboard: str
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
    settings: Settings, alert: str, *, summary: str, description: str, dashboard: str
) -> dict[str, str]:
    """The annotations of the alert named *alert*."""
    query = "".join(
        f"{{{{ with $labels.{name} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
        for name in _VARIABLES[dashboard]
    )
    return {
        "summary": summary,
        "description": " ".join(description.split()),
        "runbook_url": f"{settings.runbook_url}#{alert.lower()}",
        "dashboard_url": f"{settings.dashboard_url}/{dashboard}?from=now-3h{query}",
    }
