"""The mixins that huey's own objects are given: huey, consumer, serializer, storage.

Owns which calls of huey's are seen, and nothing of what they mean: a hook calls huey
below it, and what the call means in `_tasks` before or after. May import `_tasks` and
all below. Begin reading in `huey`, then `enqueueing` and `executing`.
"""
