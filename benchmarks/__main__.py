"""Measures everything, and writes docs/benchmarks.md.

    python -m benchmarks [--short] [PART ...]

With `--short`, or for some parts only, it prints the result and writes nothing.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    at_rest,
    document,
    in_memory,
    memory,
    on_redis,
    relay,
    scrape,
    setting,
    throughput,
)
from benchmarks.promises import Measured
from benchmarks.stage import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many rounds, tasks and seconds each part takes."""

    rounds: int
    on_redis: int
    throughput: int
    share: float
    relay: int
    memory: int
    idle: float
    imports: int


FULL = Sizes(
    rounds=30,
    on_redis=15,
    throughput=7,
    share=1.0,
    relay=8,
    memory=20_000,
    idle=20.0,
    imports=10,
)
SHORT = Sizes(
    rounds=3,
    on_redis=2,
    throughput=2,
    share=0.05,
    relay=2,
    memory=500,
    idle=2.0,
    imports=2,
)


def parts(place: Path, sizes: Sizes, told: Measured) -> dict[str, Callable[[], str]]:
    """Functions that measure a part and return its text, in the document's order."""

    def of_tasks() -> str:
        told.tasks = in_memory.measure(sizes.rounds, place)
        return in_memory.section(told.tasks, sizes.rounds)

    def of_redis() -> str:
        with stage(place) as on:
            told.queued = on_redis.measure(on, sizes.on_redis)
        return on_redis.section(told.queued)

    def of_throughput() -> str:
        with stage(place) as on:
            told.rates = throughput.measure(on, sizes.throughput, share=sizes.share)
        return throughput.section(told.rates, share=sizes.share)

    def of_relay() -> str:
        told.events = relay.measure(sizes.relay)
        return relay.section(told.events)

    def of_rest() -> str:
        with stage(place) as on:
            told.idle = at_rest.idle(on, sizes.idle)
        return at_rest.section(told.idle, at_rest.imports(sizes.imports), sizes.idle)

    def of_memory() -> str:
        with stage(place) as on:
            told.grown = memory.measure(on, memory.MEASURED, sizes.memory)
        return memory.section(told.grown)

    return {
        "tasks": of_tasks,
        "redis": of_redis,
        "throughput": of_throughput,
        "relay": of_relay,
        "scrape": lambda: scrape.section(scrape.rows()),
        "rest": of_rest,
        "memory": of_memory,
    }


def main() -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("part", nargs="*")
    given = parser.parse_args()
    said, told = setting.described(), Measured()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        known = parts(place, SHORT if given.short else FULL, told)
        unknown = set(given.part) - known.keys()
        if unknown:
            parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
        sections = []
        # The relay forks, which a consumer does before it has threads: so it is first.
        for name in sorted(given.part or known, key=lambda name: name != "relay"):
            began = time.monotonic()
            sections.append((list(known).index(name), known[name]()))
            sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    texts = [text for _, text in sorted(sections)]
    if given.part or given.short:
        promised = document.promised(told.promises())
        sys.stdout.write("\n\n".join((said, *texts, promised)) + "\n")
    else:
        document.write(said, told.promises(), texts)


if __name__ == "__main__":
    main()
