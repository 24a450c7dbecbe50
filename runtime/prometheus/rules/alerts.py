"""The alerts about queues and tasks; those about consumers are in `consumer_alerts`."""

from typing import Any

from runtime.prometheus.rules import recorded as r
from runtime.prometheus.rules.alert import (
    OF_QUEUE,
    OF_TASK,
    OVERVIEW,
    QUEUE,
    TASK,
    TASK_NAME,
    Alert,
)
from runtime.prometheus.rules.terms import Terms

_LENGTH = "queue:huey_queue_length:max"


def _backlog(t: Terms, limit: Any) -> str:
    return f"last_over_time({t.m(_LENGTH)}[5m]) > {limit.tasks}"


def _not_draining(t: Terms, limit: Any) -> str:
    new = f"avg_over_time({t.made(r.ENQUEUED)}[{limit.window}])"
    done = f"avg_over_time({t.m(r.FINISHED)}[{limit.window}])"
    length = t.m(_LENGTH)
    origin = t.env_by("queue", "origin")
    return f"""
        (
          sum by ({origin}) ({new})
          / on ({t.env_q}) group_left
          sum by ({t.env_q}) ({new})
          >= 1 / 3
        )
        and on ({t.env_q})
        sum by ({t.env_q}) ({new}) > sum by ({t.env_q}) ({done})
        and on ({t.env_q})
        max by ({t.env_q}) (
          deriv({length}[{limit.window}]) > 0
          and
          deriv({length}[15m]) > 0
        )
        and on ({t.env_q})
        max by ({t.env_q}) ({length}) > {limit.tasks}"""


def _waits(t: Terms, limit: Any) -> str:
    return f"{t.m('queue:huey_queue_oldest_age_seconds:max')} > {limit.seconds}"


def _hangs(t: Terms, limit: Any) -> str:
    age = t.m("huey_task_running_age_seconds")
    return f"max by ({t.qt}) ({age}) > {limit.seconds}"


def _retry_storm(t: Terms, limit: Any) -> str:
    retries = t.m("huey_task_retries_total")
    attempts = t.m("huey_task_attempts_total")
    raised = t.m("huey_task_attempts_finished_total", 'outcome=~"error|timeout"')
    return f"""
        sum by ({t.qt}) (increase({retries}[10m]))
        / sum by ({t.qt}) (increase({attempts}[10m]))
        > {limit.ratio}
        and
        sum by ({t.qt}) (increase({raised}[10m]))
        / sum by ({t.qt}) (increase({attempts}[10m]))
        > {limit.ratio}
        and
        sum by ({t.qt}) (increase({retries}[10m])) >= {limit.retries}"""


def _fails(t: Terms, limit: Any) -> str:
    failed = t.m(r.FAILED_TASKS, 'task!="_unknown"')
    ran = t.m(r.RAN_TASKS)
    # Six times what was recorded: ten minutes each.
    failed_1h, ran_1h = (f"sum_over_time({one}[1h:10m])" for one in (failed, ran))
    return f"""
        {failed} / {ran} > {limit.ratio}
        and
        {failed} >= {limit.failures}
        or
        {failed_1h} / {ran_1h} > {limit.ratio}
        and
        {failed_1h} >= {limit.failures}
        unless
        {failed} / ({ran} > 0) <= {limit.ratio}"""


def _lost(t: Terms, _: Any) -> str:
    lost = t.m(r.LOST_TASKS, 'task!="_unknown"')
    return f"{lost} > 0"


def _unknown(t: Terms, _: Any) -> str:
    unknown = t.m(r.LOST_TASKS, 'task="_unknown"')
    return f"{unknown} > 0"


def _overdue(t: Terms, limit: Any) -> str:
    return f"{t.m('queue:huey_schedule_overdue_age_seconds:max')} > {limit.seconds}"


def _missed(t: Terms, limit: Any) -> str:
    due = f"{t.m(r.DUE)} offset {limit.after}"
    return f"""
        time() - (
          {due}
          unless
          {due}
          <= {t.m(r.STARTED)}
          and on ({t.qt}) {t.m("huey_periodic_task_interval_seconds")}
        )"""


def _run_failed(t: Terms, limit: Any) -> str:
    failed, succeeded = t.m(r.FAILED_LAST), t.m(r.SUCCEEDED)
    return f"""
        time() - (
          {failed} > {succeeded}
          or
          {failed} unless {succeeded}
        )
        and on ({t.qt})
        {t.m(r.INTERVAL)} > {limit.seconds}"""


ALERTS = (
    Alert(
        name="HueyBacklog",
        why="""The gauge is absent while a consumer restarts, which would restart
        the ten minutes; max_over_time would make a peak longer than it was.""",
        expr=_backlog,
        summary=f"{{{{ $value }}}} tasks wait on the queue {QUEUE}",
        description=f"""More than <tasks> tasks have waited on the queue {QUEUE} for
        <for>. More work arrives than the consumers finish, or they have stopped
        taking it.""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueyNotDraining",
        why="""New work, as the processes count it that put it on the queue, against
        tasks that ended. Each origin that brings a third or more of the new work
        has an alert, so at least one has. Retries and due tasks are not new work.
        Recorded rates, as half an hour of each counter would be much to read. The
        backlog grows in the short run as well: a nightly batch that is put on the
        queue at once, and worked off since, still grows in the long one.""",
        expr=_not_draining,
        summary=(
            f"{QUEUE} does not drain: {{{{ $labels.origin }}}} brings"
            " {{ $value | humanizePercentage }} of more work than is finished"
        ),
        description=f"""For <window> more new tasks have come to the queue {QUEUE}
        than were finished, and its backlog, now above <tasks>, grows. The origin
        says where to look: call (the application), periodic (the crontab), or
        pipeline (tasks that enqueue tasks).""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
        has_job=False,
    ),
    Alert(
        name="HueyTaskWaits",
        expr=_waits,
        summary=f"a task has waited on {QUEUE} for {{{{ $value | humanizeDuration }}}}",
        description=f"""The oldest message of the queue {QUEUE} waits for longer
        than <seconds> seconds, however short the queue is.""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueyTaskHangs",
        expr=_hangs,
        summary=(
            f"{TASK_NAME} has been running for {{{{ $value | humanizeDuration }}}}"
        ),
        description=f"""An attempt of {TASK_NAME} on the queue {QUEUE} has been
        running for longer than <seconds> seconds, and takes up a worker.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
    Alert(
        name="HueyRetryStorm",
        why="""A task that asks for its retry, or is put back for a lock or a rate
        limit, has raised nothing: that is how it is meant to run.""",
        expr=_retry_storm,
        summary=(
            f"{{{{ $value | humanizePercentage }}}} of the attempts of {TASK_NAME}"
            " are retried"
        ),
        description=f"""In the last ten minutes {TASK_NAME} on the queue {QUEUE} was
        retried at least <retries> times, which is a share of its attempts above
        <ratio>, and as great a share of them raised. What it calls is probably
        down.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
    Alert(
        name="HueyTaskFails",
        why="""At least some: one failure of one run would be a rate of 100 %. A
        task that runs seldom has had them within the hour; it counts as mended when
        ten minutes have runs, and few failures. HueyUnknownTasks covers messages that
        no consumer could read.""",
        expr=_fails,
        summary=f"{{{{ $value | humanizePercentage }}}} of {TASK_NAME} fail",
        description=f"""In the last ten minutes, or of a task that runs seldom in the
        last hour, at least <failures> runs of {TASK_NAME} on the queue {QUEUE} failed
        for good, which is a share of its runs above <ratio>.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
    Alert(
        name="HueyTasksLost",
        expr=_lost,
        summary=f"a worker died and took {TASK_NAME} with it",
        description=f"""In the last ten minutes a worker of the queue {QUEUE} was
        killed while it held {TASK_NAME}. The task is not run again.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
    Alert(
        name="HueyUnknownTasks",
        why="No worker died: its consumer could not turn a message into a task.",
        expr=_unknown,
        summary=(
            f"messages on {QUEUE} are lost: the consumer that took them did not know"
            " the task, or could not read them"
        ),
        description=f"""In the last ten minutes a consumer of the queue {QUEUE} took
        messages whose task it does not have, or that it cannot decode. They are
        gone. Most often new producers were deployed before new consumers.""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueyScheduleOverdue",
        expr=_overdue,
        summary=(
            f"no scheduler has moved the due tasks of {QUEUE} for"
            " {{ $value | humanizeDuration }}"
        ),
        description=f"""A task on the schedule of {QUEUE}, with an ETA or a retry
        delay, has been due for longer than <seconds> seconds, and no consumer has
        moved it to the queue.""",
        dashboard=OVERVIEW,
        about=OF_QUEUE,
    ),
    Alert(
        name="HueyPeriodicRunMissed",
        why="""A run that was due a while ago has not begun: no consumer scheduled
        it, or it still waits. Tasks that no consumer has any more are left out.""",
        expr=_missed,
        summary=(
            f"{TASK_NAME} was due {{{{ $value | humanizeDuration }}}} ago, and has not"
            " begun"
        ),
        description=f"""The periodic task {TASK_NAME} of the queue {QUEUE} was due
        longer than <after> ago, and no attempt of it has begun since. huey does not
        make up for a run that no scheduler saw.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
    Alert(
        name="HueyPeriodicRunFailed",
        why="""One failure of a nightly task is all that there is to see of it until
        the next night. HueyTaskFails sees tasks that run more often.""",
        expr=_run_failed,
        summary=(
            f"the last run of {TASK_NAME} failed"
            " {{ $value | humanizeDuration }} ago"
        ),
        description=f"""The periodic task {TASK_NAME} of the queue {QUEUE}, which is
        due less often than each <seconds> seconds, failed for good when it last ran,
        timed out or was lost. Its next run is only when it is due again.""",
        dashboard=TASK,
        about=OF_TASK,
    ),
)
