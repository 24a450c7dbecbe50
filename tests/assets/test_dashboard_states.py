"""What panels say in situations that are made up: promtool asks their queries."""

import subprocess
from pathlib import Path

import pytest
import yaml

from grafana.consumers.roster import (
    ANSWERS,
    NO_ANSWER,
    NOT_KNOWN,
    STOPPED,
    STORAGE,
    STUCK,
)
from tests.live.scraping import installed
from tests.support.dashboards import DASHBOARDS, Query, filled

ROSTER = Query("consumers", "Consumers")
AWAY_TILE = Query("consumers", "Storage away")
SCHEDULERS = Query("consumers", "Queues without one scheduler")

# One queue was busy for ten minutes and is idle since; the other always was.
SHOP, MAIL = 'queue="shop", task="pay"', 'queue="mail", task="post"'
IDLE = {
    f'huey_tasks_finished_total{{{SHOP}, outcome="success"}}': "0+1x10 10x50",
    f'huey_tasks_finished_total{{{SHOP}, outcome="failure"}}': "0x60",
    f"huey_task_retries_total{{{SHOP}}}": "0+1x10 10x50",
    f"huey_task_retries_total{{{MAIL}}}": "0x60",
    'huey_consumer_start_time_seconds{queue="shop"}': "0x60",
}
# A series that begins with its first count, a while after its consumer.
UNKNOWN = {
    'huey_tasks_finished_total{queue="shop", task="_unknown", outcome="lost"}': (
        "_x20 2x40"
    ),
    'huey_consumer_start_time_seconds{queue="shop"}': "0x60",
}
ONE_OF_THREE = UNKNOWN | {
    'huey_tasks_finished_total{queue="shop", task="pay", outcome="success"}': (
        "0x20 1x40"
    ),
}
# Prometheus comes late to a consumer that has lost something long ago.
LATE = UNKNOWN | {'huey_consumer_start_time_seconds{queue="shop"}': "_x20 -9000x40"}
# It comes late as well, but the consumer has just started.
FRESH = UNKNOWN | {'huey_consumer_start_time_seconds{queue="shop"}': "_x20 1100x40"}

_ENDPOINT = 'job="huey", instance="{}:9464"'
_ENDPOINTS = {
    f"up{{{_ENDPOINT.format('a')}}}": "1x60",
    f"up{{{_ENDPOINT.format('b')}}}": "1x10 0x50",
}
# Of consumers that ended long ago there is no series of theirs in the time shown.
_DOWN_FOR_LONG = {
    f"up{{{_ENDPOINT.format('a')}}}": "0x60",
    f"instance:huey_consumer_info:max{{{_ENDPOINT.format('a')}}}": "1x60",
    f'ALERTS{{{_ENDPOINT.format("a")}, alertname="HueyConsumerDown", '
    'alertstate="firing"}': "1x60",
    f'ALERTS{{{_ENDPOINT.format("db")}, alertname="NodeDown", alertstate="firing"}}': (
        "1x60"
    ),
}
_OF_TWO_ENVIRONMENTS = {
    f"{name}{{alertname={alert}, {labels}{state}}}": "7x60"
    for alert, labels in (
        ('"HueyBacklog"', 'queue="shop", namespace="prod"'),
        ('"HueyBacklog"', 'queue="shop", namespace="staging"'),
        ('"HueyTelemetryLost"', 'queue="shop", signal="event", reason="a"'),
        ('"HueyTelemetryLost"', 'queue="shop", signal="span", reason="a"'),
    )
    for name, state in (
        ("ALERTS", ', alertstate="firing"'),
        ("ALERTS_FOR_STATE", ""),
    )
}
_ON_THE_PAGE = 'job="huey", instance="exporter:9465"'
_PAGES = {
    f"up{{{_ON_THE_PAGE}}}": "1x60",
    f"huey_exporter_up{{{_ON_THE_PAGE}}}": "1x60",
    f'huey_exporter_pages{{{_ON_THE_PAGE}, queue="shop", state="live"}}': "3x60",
    f'huey_exporter_pages{{{_ON_THE_PAGE}, queue="shop", state="stale"}}': "2x60",
}
_REDIS_AWAY = {
    f"up{{{_ON_THE_PAGE}}}": "1x60",
    f"huey_exporter_up{{{_ON_THE_PAGE}}}": "0x60",
}
_NO_EXPORTER = {f"up{{{_ON_THE_PAGE}}}": "0x60"}

# Two consumers of a queue on one page: `instance` does not tell them apart.
_A, _B = (f'{_ON_THE_PAGE}, queue="shop", consumer="{name}"' for name in ("a:1", "b:2"))
_ONE_SCHEDULES = {
    f'huey_consumer_info{{{_A}, periodic="true"}}': "1x60",
    f'huey_consumer_info{{{_B}, periodic="false"}}': "1x60",
    f"huey_scheduler_last_check_timestamp_seconds{{{_A}}}": "0+60x60",
    f"huey_scheduler_last_check_timestamp_seconds{{{_B}}}": "0+60x60",
    f'huey_storage_up{{{_ON_THE_PAGE}, queue="shop"}}': "1x30 0x30",
}
_TWO_SCHEDULE = _ONE_SCHEDULES | {
    f'huey_consumer_info{{{_B}, periodic="false"}}': "_x60",
    f'huey_consumer_info{{{_B}, periodic="true"}}': "1x60",
}
_TWICE = _TWO_SCHEDULE | {
    f'huey_periodic_task_interval_seconds{{{_A}, task="tick"}}': "60x60",
}
_TWICE_BY_COUNT = _TWO_SCHEDULE | {
    f'huey_tasks_enqueued_total{{{_A}, task="tick", origin="periodic"}}': "1x60",
}
# The one that schedules stopped looking after ten minutes.
_SILENT = _ONE_SCHEDULES | {
    f"huey_scheduler_last_check_timestamp_seconds{{{_A}}}": "0+60x10 600x50",
}


_STUCK = _ONE_SCHEDULES | {f'huey_consumer_stuck{{{_B}, reason="worker"}}': "1x60"}
# From the thirtieth minute on: one is killed, or ended as it was asked to, Redis is
# away, the exporter is down.
_KILLED = _ONE_SCHEDULES | {
    f'huey_consumer_info{{{_B}, periodic="false"}}': "1x30 _x30",
    f'huey_exporter_pages{{{_ON_THE_PAGE}, queue="shop", state="stale"}}': "0x30 1x30",
    f"huey_exporter_page_age_seconds{{{_B}}}": "2x30 20x30",
}
# One that ended a while ago has no page any more, whatever became of another one.
_EXPIRED = _KILLED | {
    f"huey_exporter_page_age_seconds{{{_B}}}": "2x29 stale",
}
_ENDED = _KILLED | {
    f'huey_exporter_pages{{{_ON_THE_PAGE}, queue="shop", state="stale"}}': "0x60",
}
_UNREAD = {
    f'huey_consumer_info{{{_A}, periodic="true"}}': "1x30 _x30",
    f'huey_consumer_info{{{_B}, periodic="false"}}': "1x30 _x30",
    f"huey_exporter_up{{{_ON_THE_PAGE}}}": "1x30 0x30",
    f"up{{{_ON_THE_PAGE}}}": "1x60",
}
_UNSERVED = _UNREAD | {
    f"huey_exporter_up{{{_ON_THE_PAGE}}}": "1x30 _x30",
    f"up{{{_ON_THE_PAGE}}}": "1x30 0x30",
}


# Both keep their workers half busy, until one is killed. Its page in Redis has its
# counters for ten minutes more.
_WORKERS = 'worker_type="thread"'
_HALF_BUSY = {
    f"huey_workers{{{_A}, {_WORKERS}}}": "2x60",
    f"huey_workers{{{_B}, {_WORKERS}}}": "2x30 stale",
    f"huey_worker_busy_seconds_total{{{_A}, {_WORKERS}}}": "0+60x60",
    f"huey_worker_busy_seconds_total{{{_B}, {_WORKERS}}}": "0+60x30 1800x10",
}


def states(*, a: int, b: int) -> dict[str, float]:
    """What the table says of both consumers."""
    return {
        '{name="a:1", queue="shop"}': a,
        '{name="b:2", queue="shop"}': b,
    }


@pytest.mark.parametrize(
    ("query", "series", "minutes", "shown"),
    [
        (Query("overview", "Success"), IDLE, 20, {"{}": 1}),
        (Query("overview", "Success"), IDLE, 60, {}),
        (Query("overview", "Success"), {}, 60, {}),
        # One success, and the two that were lost at once.
        (Query("overview", "Success"), ONE_OF_THREE, 25, {"{}": 1 / 3}),
        (
            Query("overview", "Firing alerts"),
            _OF_TWO_ENVIRONMENTS,
            20,
            {
                f'{{alertname="{alert}", on="{on}"}}': 7000
                for alert, on in (
                    ("HueyBacklog", "shop         prod"),
                    ("HueyBacklog", "shop         staging"),
                    ("HueyTelemetryLost", "shop a     event   "),
                    ("HueyTelemetryLost", "shop a     span   "),
                )
            },
        ),
        (Query("overview", "Alerts"), _OF_TWO_ENVIRONMENTS, 20, {"{}": 4}),
        (Query("overview", "Alerts"), {}, 20, {}),
        (Query("overview", "Alerts"), {"huey:rules:info": "1x60"}, 20, {"{}": 0}),
        (Query("overview", "Alerts"), _DOWN_FOR_LONG, 20, {"{}": 1}),
        (Query("overview", "Failed"), IDLE, 60, {"{}": 0}),
        (Query("overview", "Failed"), {}, 60, {}),
        (Query("overview", "Failed"), UNKNOWN, 25, {"{}": 2}),
        (Query("overview", "Failed"), UNKNOWN, 59, {"{}": 0}),
        (Query("overview", "Failed"), LATE, 25, {"{}": 0}),
        (Query("overview", "Failed"), FRESH, 25, {"{}": 2}),
        (Query("overview", "Retries"), IDLE, 20, {f'{{name="pay", {SHOP}}}': 0}),
        (Query("overview", "Retries"), IDLE, 60, {}),
        *(
            (
                Query("overview", "Running longest"),
                {f'huey_task_running_age_seconds{{queue="q", task="{task}"}}': "3x20"},
                20,
                {f'{{name="{name}", queue="q", task="{task}"}}': 3},
            )
            for task, name in (
                ("app.tasks.pay", "pay"),
                ("pay", "pay"),
                ("app.pay.", "pay."),
                ("...", "."),
                ('say \\"hi\\"', 'say \\"hi\\"'),
                ("a.b&c=d#?", "b&c=d#?"),
            )
        ),
        (Query("overview", "Consumers", "A"), _ENDPOINTS, 5, {"{}": 2}),
        (Query("overview", "Consumers", "B"), _ENDPOINTS, 5, {"{}": 0}),
        (Query("overview", "Consumers", "A"), _ENDPOINTS, 20, {"{}": 1}),
        (Query("overview", "Consumers", "B"), _ENDPOINTS, 20, {"{}": 1}),
        (Query("overview", "Consumers", "A"), _PAGES, 20, {"{}": 3}),
        (Query("overview", "Consumers", "B"), _PAGES, 20, {"{}": 2}),
        (Query("overview", "Consumers", "A"), _REDIS_AWAY, 20, {}),
        (Query("overview", "Consumers", "B"), _REDIS_AWAY, 20, {}),
        (Query("overview", "Consumers", "A"), _NO_EXPORTER, 20, {"{}": 0}),
        (Query("overview", "Consumers", "B"), _NO_EXPORTER, 20, {"{}": 1}),
        (Query("overview", "Consumers", "A"), {}, 20, {"{}": 0}),
        (Query("overview", "Workers busy"), _HALF_BUSY, 20, {"{}": 0.5}),
        (Query("overview", "Workers busy"), _HALF_BUSY, 33, {"{}": 0.5}),
        (Query("consumers", "Up"), _PAGES, 20, {"{}": 3}),
        (Query("consumers", "Down"), _PAGES, 20, {"{}": 2}),
        (
            SCHEDULERS,
            _ONE_SCHEDULES,
            20,
            {"{}": 0},
        ),
        (SCHEDULERS, _TWO_SCHEDULE, 20, {"{}": 0}),
        (SCHEDULERS, _TWICE, 20, {"{}": 1}),
        (SCHEDULERS, _TWICE_BY_COUNT, 20, {"{}": 1}),
        (SCHEDULERS, _SILENT, 20, {"{}": 1}),
        (SCHEDULERS, {}, 20, {}),
        (AWAY_TILE, _ONE_SCHEDULES, 20, {"{}": 0}),
        (AWAY_TILE, _ONE_SCHEDULES, 40, {"{}": 1}),
        (AWAY_TILE, {}, 40, {}),
        (
            ROSTER,
            _ONE_SCHEDULES,
            20,
            states(a=ANSWERS, b=ANSWERS),
        ),
        (ROSTER, _ONE_SCHEDULES, 40, states(a=STORAGE, b=STORAGE)),
        (ROSTER, _STUCK, 20, states(a=ANSWERS, b=STUCK)),
        (ROSTER, _EXPIRED, 40, states(a=STORAGE, b=STOPPED)),
        (ROSTER, _ENDED, 40, states(a=STORAGE, b=STOPPED)),
        (ROSTER, _KILLED, 40, states(a=STORAGE, b=NO_ANSWER)),
        (
            ROSTER,
            _UNREAD,
            40,
            states(a=NOT_KNOWN, b=NOT_KNOWN),
        ),
        (
            ROSTER,
            _UNSERVED,
            40,
            states(a=NO_ANSWER, b=NO_ANSWER),
        ),
        (
            ROSTER,
            _NO_EXPORTER,
            20,
            {'{name="exporter:9465", queue="?"}': NO_ANSWER},
        ),
    ],
)
def test_panels_tell_zero_from_what_is_not_known(
    query: Query,
    series: dict[str, str],
    minutes: int,
    shown: dict[str, float],
    tmp_path: Path,
) -> None:
    ask(tmp_path, query.text(seconds=1800, rate=300), series, minutes, shown)


def ask(
    directory: Path,
    expr: str,
    series: dict[str, str],
    minutes: int,
    shown: dict[str, float],
) -> None:
    # Without NaN, by which tiles say that they do not know: promtool cannot compare it.
    expr = f"({expr}) == ({expr})"
    given = [{"series": name, "values": values} for name, values in series.items()]
    samples = [{"labels": key, "value": value} for key, value in shown.items()]
    asked = {"expr": expr, "eval_time": f"{minutes}m", "exp_samples": samples}
    case = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    path = directory / "case.yml"
    path.write_text(yaml.safe_dump({"tests": [case]}))

    done = subprocess.run(
        [installed("promtool"), "test", "rules", str(path)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


_EXPORTER_ALONE = {
    f"huey_exporter_up{{{_ON_THE_PAGE}}}": "1x60",
    f'huey_queue_length{{{_ON_THE_PAGE}, queue="shop"}}': "7x60",
}


@pytest.mark.parametrize(
    ("variable", "series", "offered"),
    [
        ("job", _ENDPOINTS | _ONE_SCHEDULES, ["huey"]),
        ("job", _DOWN_FOR_LONG, ["huey"]),
        ("job", _EXPORTER_ALONE, ["huey"]),
        ("instance", _DOWN_FOR_LONG, ["a:9464"]),
        ("queue", _ONE_SCHEDULES, ["shop"]),
        ("queue", _EXPORTER_ALONE, ["shop"]),
    ],
)
def test_variables_offer_what_is_there_without_consumers(
    variable: str, series: dict[str, str], offered: list[str], tmp_path: Path
) -> None:
    query = next(
        one["definition"]
        for one in DASHBOARDS["consumers"]["templating"]["list"]
        if one["name"] == variable
    )
    selector = query.removeprefix("label_values(").removesuffix(f", {variable})")
    expr = f"count by ({variable}) ({filled(selector)}) * 0"
    shown = {f'{{{variable}="{value}"}}': 0.0 for value in offered}

    ask(tmp_path, expr, series, 20, shown)
