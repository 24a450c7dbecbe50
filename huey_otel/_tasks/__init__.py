"""What huey's calls mean: messages, attempts, workers, and the spans that tell them.

Owns the life of a task from its enqueue to its end, the context of each thread, and
how a trace goes on from one process to the next. May import `_process`, `_relay` and
all below, never a hook. Begin reading in `enqueue`, `dequeue` and
`execute`; `attempt` is the one object that all of them share. A consumer's start and
end are in `consumer`.
"""
