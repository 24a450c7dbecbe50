"""What the first enqueue of a process costs its caller, each in a new process.

python -m benchmarks.first_request [ROUNDS]
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from runtime import otlp_receiver as otlp

_ROUNDS: Final = 11
_STEPS: Final = (
    *("from huey_otel import instrument", "instrument()"),
    *("first enqueue", "second enqueue"),
)

_PROCESS: Final = """
import time
from huey import MemoryHuey

def passed(since=[time.perf_counter()]):
    before, since[0] = since[0], time.perf_counter()
    print((since[0] - before) * 1e3)

huey = MemoryHuey("my-app")

@huey.task()
def add():
    pass

passed()
from huey_otel import instrument
passed()
instrument(huey)
passed()
add()
passed()
add()
passed()
"""


def main() -> None:
    """Print the median milliseconds of each step, for each destination of spans."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    lines = [f"| spans | {' | '.join(_STEPS)} |", "|---|" + "---|" * len(_STEPS)]
    with ExitStack() as stack:
        for where, environ in _places(stack):
            # Not counted: its modules may not be in the disk cache yet.
            _run(environ)
            runs = [_run(environ) for _ in range(rounds)]
            medians = map(statistics.median, zip(*runs, strict=True))
            cells = " | ".join(f"{milliseconds:.1f}" for milliseconds in medians)
            lines.append(f"| {where} | {cells} |")
    text = "\n".join(lines)
    sys.stdout.write(f"milliseconds, medians of {rounds} processes\n\n{text}\n")


def _places(stack: ExitStack) -> Iterator[tuple[str, dict[str, str]]]:
    yield "off", {}
    for where, protocol in (("OTLP/HTTP", otlp.HTTP), ("OTLP/gRPC", otlp.GRPC)):
        yield where, stack.enter_context(_receiving(protocol))


@contextmanager
def _receiving(protocol: str) -> Iterator[dict[str, str]]:
    with otlp.receiver(protocol) as receiver:
        yield receiver.environ


def _run(environ: dict[str, str]) -> list[float]:
    done = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", _PROCESS],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **environ},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=60,
    )
    return [float(line) for line in done.stdout.split()[1:]]


if __name__ == "__main__":
    main()
