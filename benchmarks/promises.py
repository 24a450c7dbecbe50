"""The promises: limits that the figures of a run must keep."""

from dataclasses import dataclass, field

from benchmarks import (
    at_rest,
    floor,
    in_memory,
    memory,
    on_redis,
    relay,
    throughput,
    variants,
)
from benchmarks.document import Promise

_SDK = {"produce": 1.4, "work": 1.5}
"""Multiples of the bare SDK's CPU."""

_UNSAMPLED = 15.0
_EVENT = 20.0
"""Microseconds of CPU."""

_PARTS = {variants.METRICS: 0.97, variants.FULL: 0.93}
"""Fractions of bare huey's throughput."""

_IDLE = 1.0
"""Milliseconds of CPU a second above bare huey."""

_GROWTH = 8.0
"""Megabytes: by so much one sample differs from the next."""


@dataclass(slots=True)
class Measured:
    """The figures of the parts that were measured."""

    tasks: in_memory.Figures = field(default_factory=dict)
    queued: on_redis.Figures = field(default_factory=dict)
    rates: throughput.Figures = field(default_factory=dict)
    events: relay.Figures = field(default_factory=dict)
    idle: at_rest.Idle = field(default_factory=dict)
    grown: memory.Figures = field(default_factory=dict)

    def promises(self) -> list[Promise]:
        """The promises about the measured parts."""
        return [
            *(self._tasks() if self.tasks else ()),
            *(self._queued() if self.queued else ()),
            *(self._rates() if self.rates else ()),
            *(self._events() if self.events else ()),
            *(self._idle() if self.idle else ()),
            *(self._grown() if self.grown else ()),
        ]

    def _tasks(self) -> list[Promise]:
        made = []
        for side, most in _SDK.items():
            title = in_memory.SIDES[side]
            of = in_memory.ratio(self.tasks, side, variants.FULL, floor.SAMPLED)
            what = f"{title} side, sampled: at most {most} x the bare SDK"
            made.append((what, f"{of:.2f} x", of <= most))
            added = in_memory.added(self.tasks, side, variants.UNSAMPLED)
            what = f"{title} side, not sampled: at most {_UNSAMPLED:.0f} µs"
            made.append((what, f"{added:.1f} µs", added <= _UNSAMPLED))
        return made

    def _queued(self) -> list[Promise]:
        least = {name: min(all_) for name, all_ in on_redis.cpu(self.queued).items()}
        made = []
        for other in (variants.STATS, variants.SENTRY):
            ours, theirs = least[variants.FULL], least[other]
            what = f"a task on Redis, everything on at 100 %: below {other}"
            made.append((what, f"{ours:.0f} µs to {theirs:.0f}", ours < theirs))
        ours, *theirs_ = (
            on_redis.overhead(self.queued, name)
            for name in (variants.METRICS, variants.STATS, variants.SENTRY)
        )
        cheaper = min(theirs_)
        what = "metrics and events only: at most half of what the cheaper of both adds"
        made.append((what, f"{ours:+.0f} µs to {cheaper:+.0f}", 2 * ours <= cheaper))
        return made

    def _rates(self) -> list[Promise]:
        made = []
        for task in ("sleep", "compute"):
            of = throughput.ratios(self.rates, "process", 4, task)
            for name, least in _PARTS.items():
                what = (
                    f"4 worker processes, {throughput.TASKS[task]}, {name}: "
                    f"at least {least} of bare huey"
                )
                made.append((what, f"{of[name]:.3f}", of[name] >= least))
        return made

    def _events(self) -> list[Promise]:
        made = []
        for name in (relay.PIPE, relay.THREADS):
            event = self.events[name].least
            what = f"relay and sinks, {name}: at most {_EVENT:.0f} µs an event"
            made.append((what, f"{event:.1f} µs", event <= _EVENT))
        return made

    def _idle(self) -> list[Promise]:
        made = []
        for kind, workers in at_rest.WORKERS:
            bare, ours = (
                self.idle[kind, workers, name]
                for name in (variants.BARE, variants.FULL)
            )
            what = (
                f"idle, {workers} x {kind}: at most {_IDLE:.0f} ms a second over "
                "bare huey"
            )
            made.append((what, f"{ours - bare:+.2f} ms", ours - bare <= _IDLE))
        return made

    def _grown(self) -> list[Promise]:
        main, worker = memory.growth(self.grown[variants.FULL])
        what = f"memory flat: at most {_GROWTH:.0f} MB more at the end"
        told = f"main {main:+.1f} MB, worker {worker:+.1f} MB"
        return [(what, told, max(main, worker) <= _GROWTH)]
