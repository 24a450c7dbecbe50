"""The instrumentor: what `opentelemetry-instrument` loads, for all hueys there are."""

import gc
import os
import sys
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from huey.api import Huey
from huey.consumer import Consumer
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._setup.instrument import begin, check
from huey_otel._setup.instrumentation import Instrumentation, instrumentation_of

_INSTRUMENTS: Final = ("huey >= 2.5.3, < 4",)


class HueyInstrumentor(BaseInstrumentor):
    """Instruments every huey of the process, those that exist and those to come.

    `instrument` takes the options of `huey_otel.instrument`, for all of them.
    A huey that the application instruments itself keeps what it says there.

    A huey is found where it is made, so `Huey.__init__` is wrapped meanwhile:
    of all that knows of a new one it is the only call that every subclass
    makes. The huey's other methods stay what they are. `Consumer.stop` is
    wrapped because the consumer that SIGHUP begins is another program.
    """

    _begun: "weakref.WeakSet[Instrumentation]"

    def instrumentation_dependencies(self) -> Collection[str]:
        """Which versions of huey are known."""
        return _INSTRUMENTS

    def _instrument(self, **options: Any) -> None:
        """Begin; raises TypeError or ValueError for *options* that are not accepted.

        A wrong variable turns this off, and says so: what is raised here would turn
        off all other instrumentations too (opentelemetry-distro 0.66b0).
        """
        self._begun = weakref.WeakSet()
        try:
            check(options)
        except ValueError as error:
            if options:
                raise
            warn("huey-otel is off: %s", error)
            return

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
        wrap_function_wrapper(Consumer, "stop", _stop)

    @guarded
    def _begin(self, huey: Huey, options: dict[str, Any]) -> None:
        if instrumentation_of(huey) is None:
            self._begun.add(begin(huey, check(options), automatic=True))

    def _uninstrument(self, **_options: Any) -> None:
        """End; what the application has instrumented itself stays so."""
        unwrap(Huey, "__init__")
        unwrap(Consumer, "stop")
        for instrumentation in list(self._begun):
            instrumentation.uninstrument()


def _stop(
    stop: Callable[..., Any],
    consumer: Consumer,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    if getattr(consumer, "_restart", False):
        _stay_instrumented()
    return stop(*args, **kwargs)


@guarded
def _stay_instrumented() -> None:
    """Have a Python that takes the place of this one instrumented as well.

    `opentelemetry-instrument` gets into Python by a directory in PYTHONPATH. Before
    0.63b0 it is taken out there, and what huey executes would not be observed.
    """
    if (directory := _wrapper()) is None:
        return
    paths = os.environ.get("PYTHONPATH", "")
    if directory not in paths.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (directory, paths)))


def _wrapper() -> str | None:
    """Where what `opentelemetry-instrument` has Python begin with is, if it has."""
    begun = getattr(sys.modules.get("sitecustomize"), "__file__", None) or ""
    wrapper = sys.modules.get("opentelemetry.instrumentation.auto_instrumentation")
    directory = os.path.dirname(os.path.abspath(begun))  # noqa: PTH100, PTH120 - as there
    return directory if directory in getattr(wrapper, "__path__", ()) else None


def _existing() -> Iterator[Huey]:
    for thing in gc.get_objects():
        # Not isinstance: asked for its class, a lazy object would be made.
        if issubclass(type(thing), Huey):
            yield thing
