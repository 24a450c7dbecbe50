"""Restarts: why a worker that huey replaced had ended."""

from typing import Final, TypeVar

from huey.constants import WORKER_PROCESS

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._wire.record import Record, Source

K = TypeVar("K")

_MOST_DEAD: Final = 1_000


class Restarts:
    """Pairs `worker-ended`, `gone` and `worker-replaced`. Not thread-safe.

    A forked worker's `worker-ended` is read before its `gone`, while
    `worker-replaced`, which the main process says itself, may come before both.
    A thread has no `gone`. A worker that ended without a word has died.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[int, int, str | None], str] = {}
        self._dead: dict[tuple[int, int], str] = {}
        self._replaced: set[tuple[int, int]] = set()

    def reason_after(self, record: Record, source: Source) -> str | None:
        """Take *record* in; the reason of a restart that is now known of."""
        process = (record.source, record.pid)
        worker = (*process, record.worker)
        match record.status:
            case mapping.WORKER_ENDED:
                said = (record.extra or {}).get("reason")
                _keep(self._said, worker, said or n.REASON_DIED)
            case mapping.GONE if record.worker is None:
                return self._gone(process)
            case mapping.WORKER_REPLACED if source.worker_type == WORKER_PROCESS:
                return self._replace(process)
            case mapping.WORKER_REPLACED:
                return _reason(self._said.pop(worker, None))
            case _:
                pass
        return None

    def _gone(self, process: tuple[int, int]) -> str | None:
        theirs = [worker for worker in self._said if worker[:2] == process]
        said = [self._said.pop(worker) for worker in theirs]
        reason = _reason(said[-1] if said else None)
        if process in self._replaced:
            self._replaced.discard(process)
            return reason
        _keep(self._dead, process, reason)
        return None

    def _replace(self, process: tuple[int, int]) -> str | None:
        reason = self._dead.pop(process, None)
        if reason is None:
            self._replaced.add(process)
        return reason


def _reason(said: str | None) -> str:
    return n.REASON_MAX_TASKS if said == n.REASON_MAX_TASKS else n.REASON_DIED


def _keep(kept: dict[K, str], key: K, value: str) -> None:
    """Remember it, and forget the oldest past a bound."""
    kept[key] = value
    if len(kept) > _MOST_DEAD:
        del kept[next(iter(kept))]
