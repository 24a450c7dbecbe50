"""The listener process: each event as a line of JSON, until its input ends."""

import json
import sys
import threading

from huey_otel import EventListener


def listen(url: str, channel: str) -> None:
    """Write the events on *channel* to standard output; first an empty line."""
    with EventListener(url, channel) as listener:

        def close_at_end_of_input() -> None:
            sys.stdin.read()
            listener.close()

        threading.Thread(target=close_at_end_of_input, daemon=True).start()
        sys.stdout.write("\n")
        sys.stdout.flush()
        for event in listener:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    listen(*sys.argv[1:])
