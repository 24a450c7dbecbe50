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

_HEAD = (
    "Made by python -m runtime.prometheus.rules; change the settings, not this file."
)


def files(settings: Settings) -> dict[str, str]:
    """The text of each file. Without objectives there is only RULES."""
    # One group, whose rules follow one another: an alert sees what was just recorded.
    rules = recorded(settings)
    for alert in (*ALERTS, *CONSUMER_ALERTS):
        if settings.alerts[alert.name].enabled:
            rules.append(alert.rule(settings))
    made = {RULES: file_of([Group(name="huey", rules=rules)], _HEAD)}
    if settings.objectives:
        made[OBJECTIVES] = file_of(slo.groups(settings), _HEAD)
        made[SLOTH] = sloth.text(settings, _HEAD)
    return made
