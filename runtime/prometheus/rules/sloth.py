"""The same objectives as input for Sloth, its specification `prometheus/v1`.

Sloth has one series for an objective, of all queues and tasks that it is about.
"""

import textwrap

from runtime.prometheus.rules.objectives import Objective
from runtime.prometheus.rules.rule import quoted
from runtime.prometheus.rules.settings import Settings
from runtime.prometheus.rules.slo import FAILURE_ALERT, WAIT_ALERT, bad_and_all

_WINDOW = "{{.window}}"


def text(settings: Settings, head: str) -> str:
    """The file for `sloth generate -i`, which begins with *head* as a comment."""
    comment = "\n".join(f"# {line}" for line in head.splitlines())
    slos = "\n\n".join(_slo(settings, one) for one in settings.objectives)
    return (
        f"{comment}\nversion: prometheus/v1\nservice: {quoted(settings.service)}\n"
        f"slos:\n{textwrap.indent(slos, '  ')}\n"
    )


def _slo(settings: Settings, objective: Objective) -> str:
    bad, all_ = bad_and_all(settings, objective, _WINDOW)
    alert = FAILURE_ALERT if objective.wait_seconds is None else WAIT_ALERT
    goal = (
        "succeed"
        if objective.wait_seconds is None
        else f"begin within {objective.wait_seconds:g} s"
    )
    about = f"{objective.objective:g} % of the tasks {goal}."
    return f"""\
- name: {objective.name}
  objective: {objective.objective:g}
  description: {quoted(about)}
  sli:
    events:
      error_query: {quoted(_whole(bad))}
      total_query: {quoted(_whole(all_))}
  alerting:
    name: {alert}
    labels:
      slo: {objective.name}
    annotations:
      runbook_url: {quoted(f"{settings.runbook_url}#{alert.lower()}")}
    page_alert:
      labels:
        severity: critical
    ticket_alert:
      labels:
        severity: warning"""


def _whole(query: str) -> str:
    """*query* without the labels by which it aggregates."""
    before, *rest = query.split("sum by (")
    return before + "".join(f"sum{part.partition(')')[2]}" for part in rest)
