"""Names of the Redis lists that begin a round and report its end."""

from typing import Final

READY: Final = "bench.ready"
GO: Final = "bench.go"
DONE: Final = "bench.done"
