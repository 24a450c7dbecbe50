"""The files that are made of the settings, by name."""

from runtime.prometheus.rules import slo, sloth
from runtime.prometheus.rules.alerts import ALERTS
from runtime.prometheus.rules.consumer_alerts import CONSUMER_ALERTS
from runtime.prometheus.rules.recorded import recorded
from runtime.prometheus.rules.rule import Group, file_of
from runtime.prometheus.rules.settings import Settings

RULES = "rules.yml"
OBJECTIVES = "slo.yml"
SLOTH = "sloth.yml"


def files(
    settings: Settings, program: str = "runtime.prometheus.rules"
) -> dict[str, str]:
    """The text of each file, which says that *program* has made it.

    Without objectives there is only RULES.
    """
    head = f"Made by python -m {program}; change the settings, not this file."
    # One group, whose rules follow one another: an alert sees what was just recorded.
    rules = recorded(settings)
    for alert in (*ALERTS, *CONSUMER_ALERTS):
        if settings.alerts[alert.name].enabled:
            rules.append(alert.rule(settings))
    made = {RULES: file_of([Group(name="huey", rules=rules)], head)}
    if settings.objectives:
        made[OBJECTIVES] = file_of(slo.groups(settings), head)
        made[SLOTH] = sloth.text(settings, head)
    return made
