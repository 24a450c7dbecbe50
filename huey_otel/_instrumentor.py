"""The instrumentor: `opentelemetry-instrument` loads it to instrument every huey."""

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
from huey_otel._setup.configuration import HueyConfiguration
from huey_otel._setup.instrument import check
from huey_otel._setup.instrumentation import Instrumentation, instrumentation_of

_INSTRUMENTS: Final = ("huey >= 2.5.3, < 4",)


class HueyInstrumentor(BaseInstrumentor):
    """Instruments every huey of the process, those that exist and those made later.

    `instrument` takes the options of `huey_otel.instrument`, for all of them.
    A huey that the application instruments itself keeps the application's options.
    `configuration` is what a configuration file of OpenTelemetry says of huey.

    `Huey.__init__` is wrapped to find new hueys, as every subclass calls it.
    `Consumer.stop` is wrapped because on SIGHUP huey executes a new Python, and this
    is the last moment to prepare the PYTHONPATH for it.
    """

    configuration = HueyConfiguration

    _begun: "weakref.WeakSet[Instrumentation]"

    def instrumentation_dependencies(self) -> Collection[str]:
        """Which versions of huey are known."""
        return _INSTRUMENTS

    def _instrument(self, **options: Any) -> None:
        """Begin; raises TypeError or ValueError for *options* that are not accepted.

        A wrong variable is logged and turns only this off: what is raised here turns
        off all other instrumentations too (opentelemetry-distro 0.66b0). A file that
        was not accepted turns it off as well: `opentelemetry-instrument` comes here
        again, without the file's options, after it has logged what was wrong.
        """
        self._begun = weakref.WeakSet()
        if HueyConfiguration.refused and not options:
            warn("huey-otel is off: %s", HueyConfiguration.refused)
            return
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
            made = Instrumentation(huey, check(options), automatic=True)
            self._begun.add(made.begin())

    def _uninstrument(self, **_options: Any) -> None:
        """End; hueys that the application instrumented itself stay instrumented."""
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
    """Have the Python that huey executes next instrumented as well.

    `opentelemetry-instrument` gets into Python by a directory in PYTHONPATH, which
    it removes from there before 0.63b0.
    """
    if (directory := _wrapper()) is None:
        return
    paths = os.environ.get("PYTHONPATH", "")
    if directory not in paths.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (directory, paths)))


def _wrapper() -> str | None:
    """The directory of the `sitecustomize` of `opentelemetry-instrument`, if loaded."""
    begun = getattr(sys.modules.get("sitecustomize"), "__file__", None) or ""
    wrapper = sys.modules.get("opentelemetry.instrumentation.auto_instrumentation")
    directory = os.path.dirname(os.path.abspath(begun))  # noqa: PTH100, PTH120 - as there
    return directory if directory in getattr(wrapper, "__path__", ()) else None


def _existing() -> Iterator[Huey]:
    for thing in gc.get_objects():
        # Not isinstance: it asks a lazy object for its class, which makes the object.
        if issubclass(type(thing), Huey):
            yield thing
