"""`python -m runtime healthcheck`: ask the process of a container about its health.

It runs every few seconds beside that process, so it imports the standard library only.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

PATIENCE = 4.0
"""Seconds to wait for an answer; less than an image's HEALTHCHECK allows."""


def main(argv: Sequence[str]) -> int:
    """Ask the URL in *argv*, and print the answer; return 0 if its status is 200."""
    parser = _parser()
    url = parser.parse_args(argv).url
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        parser.error(f"{url!r}: expected a URL such as http://127.0.0.1:9464/healthz")
    # Not urllib.request: it would use the proxy that is set for outgoing requests.
    try:
        connection = HTTPConnection(parts.netloc, timeout=PATIENCE)
    except HTTPException as error:
        parser.error(f"{url!r}: {error}")
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        said = answer.read(1000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"{parts.netloc} does not answer: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{answer.status} {said.partition(chr(10))[0]}\n")
    return 0 if answer.status == 200 else 1


def _parser() -> argparse.ArgumentParser:
    port = os.environ.get("HUEY_OTEL_METRICS_PORT", "").strip() or "9464"
    parser = argparse.ArgumentParser(
        prog="python -m runtime healthcheck",
        description="Ask a process of this container whether it is healthy.",
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=f"http://127.0.0.1:{port}/healthz",
        help="where to ask (default: %(default)s)",
    )
    return parser
