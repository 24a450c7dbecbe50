"""Every name on the wire that is not an event's status.

In this order: what we call ourselves, spans and log records, propagation, metrics, and
the values of their labels. Options are named in `_options.table`, statuses in `events`.
"""

from typing import Final

DISTRIBUTION: Final = "huey-otel"
REDIS_CLIENT_NAME: Final = "huey-otel"
LOGGER: Final = "huey.otel"
"""A child of huey's own logger, so that our lines are where huey's are."""

SCHEDULER: Final = "Scheduler"
SYSTEM: Final = "huey"
ENQUEUE: Final = "enqueue"
PROCESS: Final = "process"
DEQUEUE: Final = "dequeue"
TYPE_SEND: Final = "send"
TYPE_RECEIVE: Final = "receive"
TYPE_PROCESS: Final = "process"

SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_CLIENT_ID: Final = "messaging.client.id"
MESSAGING_BATCH_COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
TASK_NAME: Final = "huey.task.name"
TASK_ATTEMPT: Final = "huey.task.attempt"
TASK_RETRIES_LEFT: Final = "huey.task.retries_left"
TASK_PRIORITY: Final = "huey.task.priority"
TASK_ETA: Final = "huey.task.eta"
TASK_WAIT: Final = "huey.task.wait"
TASK_OUTCOME: Final = "huey.task.outcome"
EVENT_DURATION: Final = "huey.task.duration"
EVENT_RETRY_DELAY: Final = "huey.task.retry_delay"
EVENT_ORIGIN: Final = "huey.task.origin"
EVENT_LATE: Final = "huey.task.late"
CHORD_SIZE: Final = "huey.chord.size"
WORKER_NAME: Final = "huey.worker.name"
WORKER_TYPE: Final = "huey.worker.type"
WORKER_PID: Final = "huey.worker.pid"
EVENT_PUBLISHER: Final = "huey.event.publisher"
EVENT_SEQ: Final = "huey.event.seq"
EVENT_COUNT: Final = "huey.event.count"
EVENT_OF_TASK: Final = "huey.task."
EVENT_OF_CONSUMER: Final = "huey.consumer."
"""What the name of a log record begins with; the event's status follows."""

LINK_KIND: Final = "huey.link"
LINK_RETRY: Final = "retry"
LINK_MEMBER: Final = "member"

SPAN_NAMINGS: Final = ("task", "queue")
NAMING_TASK: Final = "task"

PROPAGATE_AUTO: Final = "auto"
PROPAGATE_CHILD: Final = "child"
PROPAGATE_LINK: Final = "link"
PROPAGATE_NONE: Final = "none"
PROPAGATIONS: Final = ("auto", "child", "link", "none")

ORIGIN_HEADER: Final = "huey-origin"
"""The traceparent of the enqueue, once retries are in a trace of their own."""

SUPPRESS_INSTRUMENTATION: Final = "suppress_instrumentation"
"""The context key by which OpenTelemetry's other instrumentations are turned off."""

TASKS_ENQUEUED_TOTAL: Final = "huey_tasks_enqueued_total"
TASK_REQUEUES_TOTAL: Final = "huey_task_requeues_total"
TASK_ATTEMPTS_TOTAL: Final = "huey_task_attempts_total"
TASK_ATTEMPTS_FINISHED_TOTAL: Final = "huey_task_attempts_finished_total"
TASKS_FINISHED_TOTAL: Final = "huey_tasks_finished_total"
TASK_RETRIES_TOTAL: Final = "huey_task_retries_total"
TASK_EXCEPTIONS_TOTAL: Final = "huey_task_exceptions_total"
TASK_DURATION_SECONDS: Final = "huey_task_duration_seconds"
TASK_WAIT_SECONDS: Final = "huey_task_wait_seconds"
TASK_SCHEDULE_DELAY_SECONDS: Final = "huey_task_schedule_delay_seconds"
TASKS_IN_PROGRESS: Final = "huey_tasks_in_progress"
TASK_RUNNING_AGE: Final = "huey_task_running_age_seconds"
TASK_LAST_STARTED: Final = "huey_task_last_started_timestamp_seconds"
TASK_LAST_SUCCESS: Final = "huey_task_last_success_timestamp_seconds"
TASK_LAST_FAILURE: Final = "huey_task_last_failure_timestamp_seconds"
PERIODIC_INTERVAL: Final = "huey_periodic_task_interval_seconds"
PERIODIC_NEXT_RUN: Final = "huey_periodic_task_next_run_timestamp_seconds"
QUEUE_LENGTH: Final = "huey_queue_length"
QUEUE_OLDEST_AGE: Final = "huey_queue_oldest_age_seconds"
SCHEDULE_LENGTH: Final = "huey_schedule_length"
SCHEDULE_OVERDUE_AGE: Final = "huey_schedule_overdue_age_seconds"
RESULTS: Final = "huey_results"
STORAGE_UP: Final = "huey_storage_up"
WORKERS: Final = "huey_workers"
WORKERS_BUSY: Final = "huey_workers_busy"
WORKER_BUSY_SECONDS_TOTAL: Final = "huey_worker_busy_seconds_total"
WORKERS_MEMORY: Final = "huey_workers_resident_memory_bytes"
WORKER_RESTARTS_TOTAL: Final = "huey_worker_restarts_total"
SCHEDULER_RESTARTS_TOTAL: Final = "huey_scheduler_restarts_total"
CONSUMER_INFO: Final = "huey_consumer_info"
CONSUMER_START_TIME: Final = "huey_consumer_start_time_seconds"
SCHEDULER_LAST_CHECK: Final = "huey_scheduler_last_check_timestamp_seconds"
CONSUMER_STUCK: Final = "huey_consumer_stuck"
CONSUMER_ERRORS_TOTAL: Final = "huey_consumer_errors_total"
EVENTS_TOTAL: Final = "huey_events_total"
TELEMETRY_DROPPED_TOTAL: Final = "huey_telemetry_dropped_total"

EXPORTER_UP: Final = "huey_exporter_up"
EXPORTER_PAGES: Final = "huey_exporter_pages"
EXPORTER_PAGE_AGE: Final = "huey_exporter_page_age_seconds"
EXPORTER_SERIES_SKIPPED: Final = "huey_exporter_series_skipped"

CONSUMER_LABEL: Final = "consumer"
"""The label by which the exporter tells consumers apart."""

CLIENT_OPERATION_DURATION: Final = "messaging.client.operation.duration"
CLIENT_SENT_MESSAGES: Final = "messaging.client.sent.messages"
CLIENT_CONSUMED_MESSAGES: Final = "messaging.client.consumed.messages"
PROCESS_DURATION: Final = "messaging.process.duration"

UNKNOWN_TASK: Final = "_unknown"
UNKNOWN_ID: Final = "_unknown"
OTHER_TASK: Final = "_other"
OTHER_EXCEPTION: Final = "other"

MOST_TASKS: Final = 500
"""Names of tasks that metrics show whether or not they are registered."""

MOST_EXCEPTIONS: Final = 50

ORIGIN_CALL: Final = "call"
ORIGIN_PERIODIC: Final = "periodic"
ORIGIN_RETRY: Final = "retry"
ORIGIN_SCHEDULED: Final = "scheduled"
ORIGIN_PIPELINE: Final = "pipeline"
ORIGINS_OF_NEW_WORK: Final = (ORIGIN_CALL, ORIGIN_PERIODIC, ORIGIN_PIPELINE)
REASONS_TO_REQUEUE: Final = (ORIGIN_RETRY, ORIGIN_SCHEDULED)

OUTCOME_SUCCESS: Final = "success"
OUTCOME_ERROR: Final = "error"
OUTCOME_TIMEOUT: Final = "timeout"
OUTCOME_LOCKED: Final = "locked"
OUTCOME_RATE_LIMITED: Final = "rate_limited"
OUTCOME_RETRY_REQUESTED: Final = "retry_requested"
OUTCOME_CANCELED: Final = "canceled"
OUTCOME_INTERRUPTED: Final = "interrupted"
OUTCOME_LOST: Final = "lost"
OUTCOME_FAILURE: Final = "failure"
OUTCOME_REVOKED: Final = "revoked"
OUTCOME_EXPIRED: Final = "expired"

REASON_DIED: Final = "died"
REASON_MAX_TASKS: Final = "max_tasks"

STUCK_DEQUEUE: Final = "dequeue"
STUCK_WORKER: Final = "worker"
STUCK_SCHEDULER: Final = "scheduler"
STUCK_BUSY: Final = "busy"
STUCK_REASONS: Final = (STUCK_DEQUEUE, STUCK_WORKER, STUCK_SCHEDULER)
"""What a metric says. Whether all workers are busy for too long is only asked for."""

SIGNAL_EVENT: Final = "event"
SIGNAL_SPAN: Final = "span"
SIGNAL_METRIC: Final = "metric"
SIGNAL_LOG: Final = "log"

LOSS_RELAY: Final = "relay"
LOSS_FEED_FULL: Final = "feed_full"
LOSS_FEED_UNCONFIRMED: Final = "feed_unconfirmed"
LOSS_FEED_REFUSED: Final = "feed_refused"
LOSS_FEED_REPLICA: Final = "feed_replica"
LOSS_FEED_SHUTDOWN: Final = "feed_shutdown"
LOSS_STREAM_REFUSED: Final = "stream_refused"
LOSS_LOGS: Final = "logs"
LOSS_LOGS_FULL: Final = "logs_full"
LOSS_LOGS_REJECTED: Final = "logs_rejected"
LOSS_LOGS_SHUTDOWN: Final = "logs_shutdown"
LOSS_INTERRUPTED: Final = "interrupted"
LOSS_CARRIER: Final = "carrier"
LOSS_GAUGES: Final = "gauges"
LOSS_PAGE_REFUSED: Final = "page_refused"
LOSS_PAGE_SHUTDOWN: Final = "page_shutdown"
LOSS_SPANS: Final = "spans"
LOSS_SPANS_UNENCODABLE: Final = "spans_unencodable"
LOSS_SPANS_QUEUE_FULL: Final = "spans_queue_full"
LOSS_SPANS_REJECTED: Final = "rejected"
LOSS_INTERNAL: Final = "internal"
LOSSES_OF_SPANS: Final = (
    LOSS_SPANS,
    LOSS_SPANS_UNENCODABLE,
    LOSS_SPANS_QUEUE_FULL,
    LOSS_SPANS_REJECTED,
)
