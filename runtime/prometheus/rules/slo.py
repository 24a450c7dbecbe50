"""The rules of objectives: error ratios over several windows, and burn-rate alerts.

An error budget is what an objective leaves: 0.5 % for 99.5 %. A burn rate of 1 uses it
up in the 30 days that it is for. An alert needs its burn rate over a long window, so
that a moment does not fire it, and over a short one, so that it ends when the errors
end: the multi-window, multi-burn-rate alerts of the Site Reliability Workbook.
"""

from collections.abc import Iterator
from typing import NamedTuple

from runtime.prometheus.rules.alert import (
    OF_QUEUE,
    OF_TASK,
    OVERVIEW,
    QUEUE,
    TASK,
    TASK_NAME,
    annotations,
)
from runtime.prometheus.rules.objectives import Objective
from runtime.prometheus.rules.rule import Group, Rule, quoted
from runtime.prometheus.rules.settings import Settings
from runtime.prometheus.rules.terms import FAILED, RAN, Terms, le


class Burn(NamedTuple):
    """An alert's burn rate, its two windows, and how bad that is."""

    rate: float
    long: str
    short: str
    severity: str


BURNS = (
    Burn(14.4, "1h", "5m", "critical"),
    Burn(6, "6h", "30m", "critical"),
    Burn(1, "3d", "6h", "warning"),
)
WINDOWS = tuple(dict.fromkeys(w for burn in BURNS for w in (burn.short, burn.long)))

WAIT_ALERT = "HueyWaitBudgetBurns"
FAILURE_ALERT = "HueyFailureBudgetBurns"


def groups(settings: Settings) -> list[Group]:
    """The group of each objective."""
    return [
        # Three days of samples are much to read: not with each scrape.
        Group(
            name=f"huey-slo-{objective.name}",
            interval="1m",
            rules=[*_recorded(settings, objective), *_alerts(settings, objective)],
        )
        for objective in settings.objectives
    ]


def bad_and_all(
    settings: Settings, objective: Objective, window: str
) -> tuple[str, str]:
    """What went wrong and what there was, a second, for classic histograms."""
    terms = Terms(settings)
    chosen = _chosen(objective)
    by = f"sum by ({_labels(terms, objective)})"
    if objective.wait_seconds is None:
        name = "huey_tasks_finished_total"
        return (
            f"{by} (rate({terms.m(name, *chosen, FAILED)}[{window}]))",
            f"{by} (rate({terms.m(name, *chosen, RAN)}[{window}]))",
        )
    name = "huey_task_wait_seconds"
    all_ = f"{by} (rate({terms.m(f'{name}_count', *chosen)}[{window}]))"
    within = terms.m(f"{name}_bucket", *chosen, le(objective.wait_seconds))
    return f"{all_} - {by} (rate({within}[{window}]))", all_


def _chosen(objective: Objective) -> list[str]:
    queue = f"queue=~{quoted(objective.queue)}"
    if objective.task is None:
        return [queue]
    return [queue, f"task=~{quoted(objective.task)}"]


def _labels(terms: Terms, objective: Objective) -> str:
    return terms.q if objective.task is None else terms.qt


def _level(objective: Objective) -> str:
    return "queue" if objective.task is None else "queue_task"


def _ratio(objective: Objective, window: str) -> str:
    return f"{_level(objective)}:huey_slo_errors:ratio{window}"


def _events(objective: Objective, window: str) -> str:
    return f"{_level(objective)}:huey_slo_events:increase{window}"


def _recorded(settings: Settings, objective: Objective) -> Iterator[Rule]:
    labels = {"slo": objective.name}
    for window in WINDOWS:
        yield Rule(
            record=_ratio(objective, window),
            labels=labels,
            expr=_ratio_expr(settings, objective, window),
        )
    for window in dict.fromkeys(burn.long for burn in BURNS):
        yield Rule(
            record=_events(objective, window),
            labels=labels,
            expr=_events_expr(settings, objective, window),
        )


def _native(settings: Settings, objective: Objective, window: str) -> str:
    """The histogram where Prometheus keeps it whole, as one with custom buckets."""
    terms = Terms(settings)
    series = terms.m("huey_task_wait_seconds", *_chosen(objective))
    return f"sum by ({_labels(terms, objective)}) (rate({series}[{window}]))"


def _ratio_expr(settings: Settings, objective: Objective, window: str) -> str:
    bad, all_ = bad_and_all(settings, objective, window)
    if objective.wait_seconds is None:
        return f"{bad}\n/ (\n  {all_} > 0\n)"
    native = _native(settings, objective, window)
    return (
        f"(\n  {bad}\n)\n/ (\n  {all_} > 0\n)\n"
        f"or\n1 - histogram_fraction(0, {objective.wait_seconds:g},\n  {native}\n)"
    )


def _events_expr(settings: Settings, objective: Objective, window: str) -> str:
    _, all_ = bad_and_all(settings, objective, window)
    expr = all_.replace(" (rate(", " (increase(")
    if objective.wait_seconds is None:
        return expr
    native = _native(settings, objective, window).replace(" (rate(", " (increase(")
    return f"{expr}\nor\nhistogram_count(\n  {native}\n)"


def _alerts(settings: Settings, objective: Objective) -> Iterator[Rule]:
    name = FAILURE_ALERT if objective.wait_seconds is None else WAIT_ALERT
    what = QUEUE if objective.task is None else TASK_NAME
    goal = (
        "runs succeed"
        if objective.wait_seconds is None
        else f"attempts wait at most {objective.wait_seconds:g} s"
    )
    matcher = f'{{slo="{objective.name}"}}'
    for burn in BURNS:
        limit = burn.rate * objective.budget
        # More than all cannot be bad.
        if limit >= 1:
            continue
        yield Rule(
            alert=name,
            expr=f"""
                {_ratio(objective, burn.long)}{matcher} > {limit:.6g}
                and
                {_ratio(objective, burn.short)}{matcher} > {limit:.6g}
                and
                {_events(objective, burn.long)}{matcher} >= {objective.events}""",
            labels={
                **settings.labels,
                "slo": objective.name,
                "severity": burn.severity,
                "window": burn.long,
            },
            annotations=annotations(
                settings,
                name,
                summary=(
                    f"{what} misses its objective {objective.name}:"
                    f" {{{{ $value | humanizePercentage }}}} were bad in {burn.long}"
                ),
                description=f"""The objective is that {objective.objective:g} % of
                the {goal}. Over {burn.long}, and over {burn.short} still, the rest
                was used up {burn.rate:g} times as fast as it may be.""",
                dashboard=OVERVIEW if objective.task is None else TASK,
                about=OF_QUEUE if objective.task is None else OF_TASK,
            ),
        )
