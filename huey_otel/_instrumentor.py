"""The instrumentor: what `opentelemetry-instrument` loads, for all hueys there are."""

import gc
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from huey.api import Huey
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from huey_otel._guard import guarded
from huey_otel._instrument import begin, check
from huey_otel._instrumentation import Instrumentation, instrumentation_of

_INSTRUMENTS: Final = ("huey >= 2.5.3, < 4",)


class HueyInstrumentor(BaseInstrumentor):
    """Instruments every huey of the process, those that exist and those to come.

    `instrument` takes the options of `huey_otel.instrument`, for all of them.
    A huey that the application instruments itself keeps what it says there.

    A huey is found where it is made, so `Huey.__init__` is wrapped meanwhile:
    of all that knows of a new one it is the only call that every subclass
    makes. The huey's other methods stay what they are.
    """

    _begun: "weakref.WeakSet[Instrumentation]"

    def instrumentation_dependencies(self) -> Collection[str]:
        """Which versions of huey are known."""
        return _INSTRUMENTS

    def _instrument(self, **options: Any) -> None:
        """Begin; raises TypeError or ValueError for what is not accepted."""
        check(options)
        self._begun = weakref.WeakSet()

        def made(
            init: Callable[..., None],
            huey: Huey,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
        ) -> None:
            init(*args, **kwargs)
            self._begin(huey, options)

        for huey in _existing():
            self._begin(huey, options)
        wrap_function_wrapper(Huey, "__init__", made)

    @guarded
    def _begin(self, huey: Huey, options: dict[str, Any]) -> None:
        if instrumentation_of(huey) is None:
            self._begun.add(begin(huey, check(options), automatic=True))

    def _uninstrument(self, **_options: Any) -> None:
        """End; what the application has instrumented itself stays so."""
        unwrap(Huey, "__init__")
        for instrumentation in list(self._begun):
            instrumentation.uninstrument()


def _existing() -> Iterator[Huey]:
    for thing in gc.get_objects():
        # Not isinstance: asked for its class, a lazy object would be made.
        if issubclass(type(thing), Huey):
            yield thing
