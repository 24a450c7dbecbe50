"""`huey-otel tail`: the last events of a queue, and then as they come."""

import argparse
import sys

from huey_otel.cli import filters, target
from huey_otel.cli.output import is_terminal, json_line

HELP = "Show the last events of a queue, and then as they come, until Ctrl-C."
EXAMPLE = """\
Earlier events are in the stream that consumers write with stream=; without one, only
what comes is shown.

On a terminal it prints a table, into a file or a pipe a line of JSON for each event.
How many events were missed, and whether Redis is away, is said on standard error.

examples:
  huey-otel tail app.huey
  huey-otel tail redis://cache:6379 --queue my-app --errors
  huey-otel tail app.huey --task 'app.mail.*' --status started --status finished
  huey-otel tail app.huey --since 3h --errors
  huey-otel tail app.huey --json | jq -r 'select(.duration > 5) | .name'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, which events are shown, and how."""
    target.add_arguments(parser)
    filters.add_arguments(parser)
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="begin with earlier events of the stream: of a time ago such as 90s, 10m,"
        " 3h or 2d, behind the id of an entry, or at its beginning; by default with"
        " the last 20",
    )
    parser.add_argument(
        "--json",
        action=argparse.BooleanOptionalAction,
        help="print lines of JSON also on a terminal; or a table also into a pipe",
    )


def run(options: argparse.Namespace) -> int:
    """Print events until interrupted."""
    from huey_otel._redis.position import since_of

    try:
        since_of(options.since)
    except ValueError as error:
        said = str(error).removeprefix("since=")
        raise target.CannotLookError(f"--since {said}") from None
    found = target.target_of(options)
    # Opened late: an application may patch what they import.
    from huey_otel.cli.event_table import EventTable
    from huey_otel.cli.hearing import Hearing
    from huey_otel.cli.sources import say_which_are_unknown, sources_of

    hearing = Hearing(sources_of(found), options.since)
    if isinstance(found, target.Queues):
        say_which_are_unknown(found)
    wanted = filters.Filters(options)
    table = EventTable(with_queue=len(options.queue) > 1)
    as_json = not is_terminal() if options.json is None else options.json
    for event in filter(wanted.take, hearing):
        lines = [json_line(event)] if as_json else table.lines_of(event)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
