"""The options as OpenTelemetry's configuration file has them."""

from collections.abc import Mapping
from dataclasses import make_dataclass
from typing import Any, ClassVar, Final

from huey_otel._options import table
from huey_otel._options.table import OPTIONS
from huey_otel._setup.instrument import check

_PLACE: Final = "the configuration file, at instrumentation/development: python: huey,"

_NAMES: Final = tuple(name for name, row in OPTIONS.items() if row.variable)
"""What a text can say; a provider or a registry is no part of a file."""


class _Checked:
    """Accepts what `instrument` does, from a file.

    `refused` is why the file of this process was not accepted; empty if it was.
    """

    refused: ClassVar[str] = ""

    def __init__(self, **options: Any) -> None:
        """Raise TypeError or ValueError for *options* that are not accepted."""
        meant = {name: _meant(value) for name, value in options.items()}
        try:
            _refuse_wrong(meant)
        except (TypeError, ValueError) as error:
            type(self).refused = str(error)
            raise
        type(self).refused = ""
        for name in _NAMES:
            setattr(self, name, meant.get(name))


def _meant(value: object) -> object:
    """The option *value*; 0 and 1, which may mean off and on, as texts."""
    return str(value) if type(value) is int and value in (0, 1) else value


def _refuse_wrong(options: Mapping[str, Any]) -> None:
    unknown = options.keys() - set(_NAMES)
    if unknown:
        raise TypeError(table.unknown(unknown, known=_NAMES, who=_PLACE))
    check({name: value for name, value in options.items() if value is not None})


HueyConfiguration: Final[type[_Checked]] = make_dataclass(
    "HueyConfiguration",
    [(name, Any, None) for name in _NAMES],
    bases=(_Checked,),
    init=False,
)
"""One field for each option that a file can say; None is what the file leaves out.

opentelemetry-configuration (0.66b2) makes one of what stands under `huey` in the file,
and passes the fields that are not None to `HueyInstrumentor().instrument`.
"""
