"""Commands that are sent together, in one pipeline: each trip takes its time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis

Answer = Callable[[], Any]
"""What Redis has answered, once `send` has returned; a refusal is an exception."""


class Together:
    """Commands for *client*."""

    def __init__(self, client: "Redis") -> None:
        self._pipeline: Any = client.pipeline(transaction=False)
        self._told: list[Any] = []

    def ask(self, method: str, *arguments: Any, **options: Any) -> Answer:
        """Have the command sent for which redis-py has this *method*."""
        at = len(self._pipeline)
        getattr(self._pipeline, method)(*arguments, **options)
        return lambda: self._told[at]

    def send(self) -> None:
        """Send them; raises redis' errors where it is away."""
        self._told = self._pipeline.execute(raise_on_error=False)
