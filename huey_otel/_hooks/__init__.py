"""The mixins that are swapped into huey, its consumer, serializer and storage.

Owns which of huey's calls are seen, and nothing of what they mean: a hook calls
huey's own method, and before or after it the part of `observation` that knows what
the call means. May import `_tasks` and all below. Begin reading in `huey`, then
`enqueueing` and `executing`.
"""
