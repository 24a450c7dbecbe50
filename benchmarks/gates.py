"""Lists in Redis: by them workers are told to begin a round, and say its end."""

from typing import Final

READY: Final = "bench.ready"
GO: Final = "bench.go"
DONE: Final = "bench.done"
