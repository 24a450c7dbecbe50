"""A queue whose events go to the application's own logger provider.

LIVE_PROVIDER is `argument` or `global`, which the application sets late.
"""

import os

from huey import RedisHuey
from opentelemetry import _logs as logs
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit
from tests.live.apps.patience import be_patient

be_patient()
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
provider = LoggerProvider(Resource({"service.name": "the application's"}))
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
given = os.environ["LIVE_PROVIDER"] == "argument"
instrumentation = instrument(
    huey, events="otlp", logger_provider=provider if given else None
)
report_at_exit(instrumentation)
if not given:
    logs.set_logger_provider(provider)


@huey.task()
def add(a, b):
    return a + b
