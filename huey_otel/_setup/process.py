"""What all instrumented hueys of a process share: relay, routes, and the exit."""

import itertools
import threading
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Final, Protocol

from huey_otel._options.settings import Exposed
from huey_otel._prometheus.registry import Exposition, Page, is_default
from huey_otel._relay.relay import Relay
from huey_otel._relay.routes import Routes
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded
from huey_otel._safety.shutdown import ShutdownTime

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LAST: Final = -100
"""Priority of our finalizer: behind multiprocessing's own, which joins the workers."""


class Member(Protocol):
    """One of the instrumented hueys."""

    def renew_sinks(self) -> None: ...
    def process_exits(self) -> None: ...


class Shared:
    """One relay for all hueys that were instrumented before the last fork."""

    def __init__(self) -> None:
        self.shutdown = ShutdownTime()
        self.routes = Routes()
        self.relay = Relay(self.routes)
        self._numbers = itertools.count(1)
        self.page = Page()
        # A consumer runs in this process, or in the one that forked it.
        self.consuming = False
        self._expositions: dict[int, Exposition] = {}
        self._members: dict[int, weakref.ref[Member]] = {}
        self._begin()
        in_child(self._after_fork)
        # A child of multiprocessing forgets all finalizers once it has been forked.
        util.register_after_fork(self, Shared._finalize)
        self._finalize()

    def _begin(self) -> None:
        # Held while a consumer is shown, or an instrumentation is undone: a consumer
        # that is found late is shown by a worker's thread, and would open the page
        # that another thread has just closed.
        self.showing = threading.RLock()

    def number(self) -> int:
        """A number for one more instrumented huey."""
        return next(self._numbers)

    def exposition(
        self, number: int, registry: "CollectorRegistry | None", exposed: Exposed
    ) -> Exposition:
        """What is shown in *registry*, by source *number* and all that share it.

        Raises ValueError where they want other buckets than *exposed* says.
        """
        key = 0 if is_default(registry) else id(registry)
        exposition = self._expositions.get(key) or Exposition(registry, exposed)
        exposition.join(number, exposed)
        self._expositions[key] = exposition
        return exposition

    def add(self, number: int, member: Member) -> None:
        """Tell *member*, source *number*, of what is about the whole process."""
        self._members[number] = weakref.ref(member)

    def remove(self, number: int) -> None:
        """Undo `add` and `exposition`, and the route of *number*."""
        self._members.pop(number, None)
        self.routes.remove(number)
        self.page.close(number)
        for key, exposition in list(self._expositions.items()):
            if exposition.leave(number):
                del self._expositions[key]

    def members(self) -> list[Member]:
        """All that were added and not removed."""
        members = [known() for known in list(self._members.values())]
        return [member for member in members if member is not None]

    def consumes(self) -> None:
        """A consumer starts: what is enqueued from now on is shown on its page."""
        self.consuming = True
        for member in self.members():
            member.renew_sinks()

    def _after_fork(self) -> None:
        self._begin()
        self.routes.forget_in_flight()
        self._finalize()

    def _finalize(self) -> None:
        util.Finalize(None, self._leave, exitpriority=_LAST)

    def _leave(self) -> None:
        for member in self.members():
            guarded(member.process_exits)()


class _Current:
    shared: Shared | None = None


def shared() -> Shared:
    """The process' own; another one in a worker that instruments a huey of its own.

    What a worker inherited goes through the pipe to its parent, which knows
    nothing of hueys that came later.
    """
    if _Current.shared is None or _Current.shared.relay.forked:
        _Current.shared = Shared()
    return _Current.shared
