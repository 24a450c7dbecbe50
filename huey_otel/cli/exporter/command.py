"""`huey-otel exporter`: its arguments, and how it begins and ends."""

import argparse
import signal
from typing import TYPE_CHECKING, Final

from huey_otel.cli import target
from huey_otel.cli.exit_codes import DONE
from huey_otel.cli.output import say
from huey_otel.cli.target import CannotLookError

if TYPE_CHECKING:
    import zoneinfo

HELP = "Serve the metrics of all consumers of some queues, which they leave in Redis."
EXAMPLE = """\
The consumers leave them there with publish_metrics=True or with
HUEY_OTEL_PUBLISH_METRICS=on. The queues' gauges need only Redis.

  /metrics               for Prometheus; ?queue=NAME and ?consumer=NAME show a part
  /queues?queue=NAME     {waiting, scheduled, due, running, work} for KEDA
  /healthz               503 with the reason where Redis is away

examples:
  huey-otel exporter --redis redis://cache:6379/0 --queue my-app
  huey-otel exporter --redis redis://cache:6379 --queue mail --queue web --host 0.0.0.0

exit code: 0 ended by SIGTERM, 2 could not begin: a wrong argument, a port that is taken
"""

HOST: Final = "localhost"
PORT: Final = 9465
_HIGHEST_PORT: Final = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Redis and its queues, and where to serve."""
    parser.add_argument(
        "--redis", required=True, metavar="URL", help="the Redis of the queues"
    )
    target.add_queue_arguments(parser)
    parser.add_argument(
        "--exact",
        action="store_true",
        help="names of queues are as in Redis' keys; else they are looked for as huey"
        " 2 and huey 3 spell them as well",
    )
    parser.add_argument(
        "--host",
        default=HOST,
        help=f"where to serve, {HOST} by default; 0.0.0.0 is everywhere",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PORT,
        help=f"its port, {PORT} by default; 0 picks a free one",
    )
    parser.add_argument(
        "--tz",
        metavar="ZONE",
        help="the time zone of the consumers, such as Europe/Berlin, by which huey"
        " writes its schedule; UTC where their huey has utc=False, and this process'"
        " own by default",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    # Opened late: they import prometheus_client.
    from huey_otel._options import values
    from huey_otel._prometheus.endpoint import Endpoint
    from huey_otel._safety.wakeups import Waker
    from huey_otel.cli.exporter.answers import Answers
    from huey_otel.cli.exporter.look import Look

    found = target.queues_of(options.redis, options)
    zone = _zone(options.tz)
    try:
        host = values.HOST.checked(options.host, f"--host {options.host!r}")
    except ValueError as error:
        raise CannotLookError(str(error)) from None
    if not 0 <= options.port <= _HIGHEST_PORT:
        raise CannotLookError(
            f"--port {options.port}: expected a port from 0 to {_HIGHEST_PORT}"
        )
    look = Look(found, zone, exact=options.exact)
    waker = Waker()
    waker.be_poked_by_signals()
    # Without a handler it would end the process at once.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        endpoint = Endpoint(Answers(look), host=host, port=options.port, retry=None)
    except OSError as error:
        raise CannotLookError(f"{error}; --port and --host set another") from None
    try:
        queues = ", ".join(map(repr, look.queues))
        say(f"metrics of {queues} of {look.address} are served on {endpoint.url}")
        waker.wait(None)
    finally:
        endpoint.close()
    return DONE


def _zone(name: str | None) -> "zoneinfo.ZoneInfo | None":
    if name is None:
        return None
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise CannotLookError(
            f"--tz {name!r}: expected the name of a time zone, such as Europe/Berlin"
        ) from None
