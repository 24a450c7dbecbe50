"""Runs huey's own tests, with `--instrument` every Huey in them instrumented.

Meant for an empty network namespace of its own: the suite wants a Redis on port
6379. The last line printed is the outcome as JSON.
"""

import argparse
import fcntl
import functools
import json
import os
import socket
import struct
import sys
import unittest

from tests.support.redis_server import RedisServer

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instrument", action="store_true")
    options = parser.parse_args()

    bring_loopback_up()
    with RedisServer(port=6379):
        if options.instrument:
            instrument_every_huey()
        outcome = run_suite()
    print(json.dumps(outcome))  # noqa: T201 -- its output


def bring_loopback_up() -> None:
    """What `ip link set lo up` does, where iproute2 is not installed."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def instrument_every_huey() -> None:
    """Make each Huey that is built without an error call `instrument` on itself."""
    from huey.api import Huey

    from huey_otel import instrument

    construct = Huey.__init__

    @functools.wraps(construct)
    def construct_and_instrument(self: Huey, *args: object, **kwargs: object) -> None:
        construct(self, *args, **kwargs)
        instrument(self)

    Huey.__init__ = construct_and_instrument


def run_suite() -> dict[str, object]:
    """Every test of huey's, as counts and as the ids of those that did not pass."""
    # The tests read it on import; it leaves out the one that is flaky.
    os.environ["HUEY_CI"] = "1"
    suite = unittest.defaultTestLoader.loadTestsFromName("huey.tests")
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    return {
        "run": result.testsRun,
        "failures": sorted(test.id() for test, _ in result.failures),
        "errors": sorted(test.id() for test, _ in result.errors),
        "skipped": sorted(test.id() for test, _ in result.skipped),
    }


if __name__ == "__main__":
    main()
