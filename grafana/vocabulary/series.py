"""Series that more than one panel shows."""

from typing import Final

from grafana.vocabulary.promql import QUEUES, most

FINISHED: Final = "huey_tasks_finished_total"
PENDING: Final = most(QUEUES("huey_queue_length"), "queue")
SCHEDULED: Final = most(QUEUES("huey_schedule_length"), "queue")
WORKERS: Final = QUEUES("huey_workers")
BUSY: Final = QUEUES("huey_worker_busy_seconds_total")
