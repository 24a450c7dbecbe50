"""The relay: carries records from where they happen to the sinks, off a task's path.

Owns the thread that delivers them, the pipe across forks, what is summed up when
there is no room, what is in flight, and how dead workers are noticed. May import the
outputs' counts of spans, `_wire` and `_safety`. Begin reading in `relay`.
"""
