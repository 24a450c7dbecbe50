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
    cost,
    document,
    memory,
    on_redis,
    replay,
    scrape,
    setting,
)
from benchmarks.document import Promise
from benchmarks.stage import Stage, stage

Part = tuple[list[str], list[Promise]]
"""What a part says: its sections, and its promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many rounds, tasks and seconds each part takes."""

    rounds: int
    share: float
    replay: int
    memory: int
    idle: float
    imports: int


FULL = Sizes(rounds=7, share=1.0, replay=50_000, memory=20_000, idle=30.0, imports=15)
SHORT = Sizes(rounds=2, share=0.05, replay=10_000, memory=500, idle=2.0, imports=2)


def parts(sizes: Sizes) -> dict[str, Callable[[Stage], Part]]:
    """Functions that measure a part, in the document's order."""

    def of_redis(on: Stage) -> Part:
        found = on_redis.measure(on, sizes.rounds, share=sizes.share)
        return [on_redis.loss(found), on_redis.section(found)], on_redis.promises(found)

    def of_replay(on: Stage) -> Part:
        found = replay.measure(on, sizes.replay)
        return [replay.section(found)], replay.promises(found)

    def of_rest(on: Stage) -> Part:
        idle, imports = at_rest.idle(on, sizes.idle), at_rest.imports(sizes.imports)
        text = at_rest.section(idle, imports, sizes.idle)
        return [text], at_rest.promises(idle, imports)

    def of_scrape(_: Stage) -> Part:
        found = scrape.rows()
        return [scrape.section(found)], scrape.promises(found)

    def of_memory(on: Stage) -> Part:
        found = memory.measure(on, memory.MEASURED, sizes.memory)
        return [memory.section(found)], memory.promises(found)

    def of_cost(_: Stage) -> Part:
        found = cost.measure()
        return [cost.section(found)], cost.promises(found)

    return {
        "redis": of_redis,
        "cost": of_cost,
        "replay": of_replay,
        "rest": of_rest,
        "scrape": of_scrape,
        "memory": of_memory,
    }


def main() -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("part", nargs="*")
    given = parser.parse_args()
    known = parts(SHORT if given.short else FULL)
    if unknown := set(given.part) - known.keys():
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    said = setting.described()
    sections, promises = [], []
    for name, part in known.items():
        if name not in (given.part or known):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as directory, stage(Path(directory)) as on:
            told, held = part(on)
        sections += told
        promises += held
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    text = document.text(said, promises, sections)
    if given.part or given.short:
        sys.stdout.write(f"{text}\n")
    else:
        document.write(text)


if __name__ == "__main__":
    main()
