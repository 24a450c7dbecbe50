"""Consumers that hang, or look as if they did, and what /healthz?stuck= says of them.

`python -m tests.live.stuck` runs each case with each kind of worker that differs, asks
once a second, and prints the answers. It exits with 1 if an answer was wrong.
"""

import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.live.stuck_scene import FINE, NO_ANSWER, Scene

ALL: Final = ("thread", "process", "greenlet")
STUCK: Final = "stuck=2"
BUSY: Final = "stuck=2&busy=3"
DEQUEUE: Final = "stuck, hangs in dequeue, while messages wait: Worker-1 for N s"
WORKER: Final = "stuck, does not look for messages any more: Worker-1 for N s"
SCHEDULER: Final = "stuck, does not look at the schedule any more: Scheduler for N s"
LOCKED: Final = (
    "stuck, is in one task, as all workers are: Worker-1 for N s, Worker-2 for N s"
)
LETTERS: Final = "abcdef"
LEGEND: Final = """
One character is the answer to the question of one second: "." is 200, "#" is 503, "-"
is no answer in 3 s. A letter stands where the thing happened that is named below.
With stuck=2 a worker may hang in dequeue for 2 s, a scheduler may be silent for 4 s,
and a worker may take 62 s to look for messages again.
"""


@dataclass(frozen=True)
class Case:
    """What is done in a scene, and what each query must answer in the end.

    It is all well until the last thing that is done. `silent` if it may give no answer.
    """

    name: str
    play: Callable[[Scene], None]
    ends: dict[str, str]
    kinds: Sequence[str] = ALL
    silent: bool = False


def idle(scene: Scene) -> None:
    scene.start("-w", "2")
    scene.watch(10)


def paused(scene: Scene) -> None:
    pause = scene.directory / "pause"
    pause.touch()
    scene.start("-w", "2", LIVE_PAUSE=str(pause))
    for _ in range(5):
        scene.app.work()
    scene.watch(10)


def long_tasks(scene: Scene) -> None:
    scene.start("-w", "1")
    scene.watch(2)
    scene.mark("a task of 7 s begins, and two more wait")
    for _ in range(3):
        scene.app.last(7)
    scene.watch(23)
    assert len(scene.app.huey) == 0


def redis_away(scene: Scene) -> None:
    scene.start("-w", "2", url=f"{scene.redis.url}?socket_timeout=3600")
    scene.watch(2)
    scene.mark("Redis is stopped")
    scene.redis.pause()
    scene.watch(8)
    scene.mark("Redis goes on")
    scene.redis.resume()
    scene.watch(6)
    scene.mark("Redis is killed")
    scene.redis.kill()
    scene.watch(8)
    scene.mark("Redis is started again")
    scene.redis.start()
    scene.watch(6)


def dead_locked(scene: Scene) -> None:
    scene.start("-w", "2")
    scene.watch(2)
    scene.mark("both workers are in a task that waits for ever for a lock")
    scene.app.lock_up()
    scene.app.lock_up()
    scene.watch(10)


def scheduler_stopped(scene: Scene) -> None:
    scene.start("-w", "2")
    scene.watch(2)
    scene.mark("the scheduler's process is stopped")
    scheduler, *_workers = scene.consumer.children()
    resume = scene.freeze(scheduler)
    scene.watch(10)
    resume()


def scheduler_hangs(scene: Scene) -> None:
    scene.start("-w", "2", url=scene.way.patient_url)
    scene.watch(2)
    scene.mark("Redis answers the scheduler nothing, and others as ever")
    scene.way.word = b"EVALSHA"
    scene.watch(10)


def half_open(scene: Scene) -> None:
    scene.start("-w", "1", url=scene.way.patient_url)
    scene.watch(2)
    scene.mark("the worker's connection is half open, and the queue is empty")
    scene.way.word = b"BRPOP"
    scene.watch(8)
    scene.mark("two messages wait")
    scene.app.work()
    scene.app.work()
    scene.watch(8)


def never_looks_again(scene: Scene) -> None:
    asleep = scene.directory / "asleep"
    environ = {"LIVE_QUEUE": "polling", "LIVE_ASLEEP": str(asleep)}
    scene.start("-w", "1", "-m", "0.1", **environ)
    scene.watch(2)
    scene.mark("the worker hangs in its pause, and a message waits")
    asleep.touch()
    # The first one may still be taken.
    scene.app.work()
    scene.app.work()
    scene.watch(67)


def ripe(scene: Scene) -> None:
    pause = scene.directory / "pause"
    pause.touch()
    scene.start("-w", "1", LIVE_PAUSE=str(pause))
    scene.watch(2)
    scene.mark("25,000 scheduled tasks are due at once")
    scene.app.put_off(25_000)
    while len(scene.app.huey) < 25_000:
        scene.watch(1)
    scene.mark("the scheduler has moved the last of them to the queue")
    scene.watch(4)


def frozen(scene: Scene) -> None:
    scene.start("-w", "2")
    scene.watch(2)
    scene.mark("all processes of the consumer are stopped, and five messages come")
    resume = scene.freeze()
    for _ in range(5):
        scene.app.work()
    scene.watch(7)
    scene.mark("they go on")
    resume()
    scene.watch(8)
    assert len(scene.app.huey) == 0


def without_patch(scene: Scene) -> None:
    scene.start("-w", "2", LIVE_PATCH="")
    scene.watch(10)


CASES: Final = (
    Case("idle, nothing waits", idle, {BUSY: FINE}),
    Case("paused, five messages wait", paused, {BUSY: FINE}),
    Case("long tasks, and others wait", long_tasks, {STUCK: FINE}),
    Case("Redis is away", redis_away, {BUSY: FINE}),
    Case("all workers are dead-locked", dead_locked, {STUCK: FINE, BUSY: LOCKED}),
    Case("the scheduler stops", scheduler_stopped, {BUSY: SCHEDULER}, ("process",)),
    Case("the scheduler hangs", scheduler_hangs, {BUSY: SCHEDULER}),
    Case("a half-open connection", half_open, {BUSY: DEQUEUE}),
    Case("a worker never looks again", never_looks_again, {BUSY: WORKER}),
    Case("many tasks are due at once", ripe, {BUSY: FINE}),
    Case("the whole consumer is stopped", frozen, {BUSY: FINE}, silent=True),
    Case(
        "greenlets, and gevent has patched nothing",
        without_patch,
        {BUSY: SCHEDULER},
        ("greenlet",),
    ),
)


@dataclass(frozen=True)
class Played:
    """What a case gave with one kind of worker: for people, what was done, verdict."""

    lines: Sequence[str]
    done: Sequence[str]
    right: bool


def played(case: Case, kind: str) -> Played:
    """Play *case* with workers of *kind*."""
    scene = Scene(kind, *case.ends)
    try:
        case.play(scene)
        lines, wrong = [], ""
        for query, answers in scene.answers():
            wrong = wrong_in(case, query, answers, scene.marks) or wrong
            lines.append(f"  {kind:<9} {query:<15} {drawn(answers, scene.marks)}")
            if answers[-1] not in (FINE, NO_ANSWER):
                lines.append(f"            503 {answers[-1]}")
            if wrong:
                lines.append(f"            WRONG: {wrong}")
        return Played(lines, [what for _, what in scene.marks], right=not wrong)
    finally:
        scene.end()


def wrong_in(
    case: Case, query: str, answers: Sequence[str], marks: Sequence[tuple[int, str]]
) -> str:
    """What is wrong in *answers*, empty for nothing."""
    end = case.ends[query]
    last = without_numbers(answers[-1])
    if last != end:
        return f"the last answer is {last!r}, and not {end!r}"
    done = marks[-1][0] if marks and end != FINE else 0
    fine = {FINE, NO_ANSWER} if case.silent else {FINE}
    before = set(answers[:done] if end != FINE else answers) - fine
    return f"answers too early, or none: {sorted(before)}" if before else ""


def without_numbers(reason: str) -> str:
    return re.sub(r"\d+ s\b", "N s", reason)


def drawn(answers: Sequence[str], marks: Sequence[tuple[int, str]]) -> str:
    """A character for each of *answers*, and a letter for each of *marks*."""
    signs = {FINE: ".", NO_ANSWER: "-"}
    letters = {at: letter for letter, (at, _) in zip(LETTERS, marks, strict=False)}
    return "".join(
        letters.get(number, "") + signs.get(each, "#")
        for number, each in enumerate(answers)
    )


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(names: Sequence[str]) -> int:
    """Play all cases, or those whose names have one of *names* in them."""
    say(LEGEND)
    right = True
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        with ThreadPoolExecutor(len(case.kinds)) as pool:
            every = list(pool.map(lambda kind: played(case, kind), case.kinds))  # noqa: B023 - it ends before the next case
        say(case.name)
        for line in (line for one in every for line in one.lines):
            say(line)
        for letter, what in zip(LETTERS, every[0].done, strict=False):
            say(f"    {letter}: {what}")
        right = right and all(one.right for one in every)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
