"""Tables: a row for each set of labels, a column with its own unit for each number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana.vocabulary.meaning import DASH, Json, named
from grafana.vocabulary.panels import At, Panel, now, panel

FORM_OF_A_TABLE: Final = {"format": "table"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    *of* is a label's name, or a query by the labels of the rows, of which the column
    shows the value. A column that is not *shown* is there for links. Without a *width*
    it takes what is left, and *least* at the least.
    """

    of: str
    name: str = ""
    unit: str = ""
    width: int | None = None
    least: int | None = None
    shown: bool = True
    decimals: int | None = None
    steps: Json | None = None
    mappings: Sequence[Json] = ()
    gauge: bool = False
    largest: float | None = None
    link: Json | None = None
    coloured: bool = False

    def properties(self) -> list[Json]:
        """Say how the column is shown."""
        found = {
            "custom.hidden": not self.shown,
            "unit": self.unit,
            "decimals": self.decimals,
            "custom.width": self.width,
            "custom.minWidth": self.least,
            "thresholds": self.steps,
            "color": {"mode": "thresholds"} if self.steps else None,
            "mappings": list(self.mappings),
            "custom.cellOptions": self._cell(),
            "links": [self.link] if self.link else None,
            **(self._bounds() if self.gauge else {}),
        }
        return [
            {"id": key, "value": value}
            for key, value in found.items()
            if value or (value == 0 and value is not False)
        ]

    def _cell(self) -> Json | None:
        if self.gauge:
            return {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        return {"type": "color-text"} if self.coloured else None

    def _bounds(self) -> Json:
        """Let the gauge end at the largest there can be, or at the largest there is."""
        if self.largest is None:
            return {"min": 0, "fieldMinMax": True}
        return {"min": 0, "max": self.largest}


def label(name: str, title: str, width: int | None = None, **more: Any) -> Column:
    """Show a label of the rows."""
    return Column(of=name, name=title, width=width, **more)


def number(
    title: str, expr: str, unit: str, width: int | None = None, **more: Any
) -> Column:
    """Show the value of a query that has the labels of the rows."""
    return Column(of=expr, name=title, unit=unit, width=width, **more)


def hidden(name: str) -> Column:
    """Keep a label for links."""
    return Column(of=name, shown=False)


def table(
    title: str,
    at: At,
    description: str,
    *columns: Column,
    rows: str = "",
    sort: str,
    groups: str = "",
    none: str,
) -> Panel:
    """Show the rows that the queries of *columns* have, the highest *sort* first.

    *groups* is a column whose values come before that, in the order of the alphabet.
    *rows* is a query for its labels alone.
    """
    only_labels = [Column(of=rows, shown=False)] if rows else []
    columns = (*columns, *only_labels)
    numbers = [one for one in columns if _is_query(one)]
    targets = [now(one.of) | FORM_OF_A_TABLE for one in numbers]
    fields = {
        id(one): f"Value #{letter}" if len(numbers) > 1 else "Value"
        for letter, one in zip("ABCDEFGHIJKLMNOP", numbers, strict=False)
    }
    order = [fields.get(id(one), one.of) for one in columns]
    names = {fields.get(id(one), one.of): one.name for one in columns if one.name}
    transformations: list[Json] = [
        *([{"id": "merge", "options": {}}] if len(numbers) > 1 else []),
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": names,
            },
        },
    ]
    return panel("table", title, at, description, targets) | {
        "fieldConfig": {
            "defaults": {
                "color": {"mode": "fixed", "fixedColor": "text"},
                "custom": {"align": "auto", "cellOptions": {"type": "auto"}},
                "noValue": none,
            },
            "overrides": [
                *_EMPTY_CELLS,
                *(
                    named(one.name or fields.get(id(one), one.of), *properties)
                    for one in columns
                    if (properties := one.properties())
                ),
            ],
        },
        "options": {
            "cellHeight": "sm",
            "showHeader": True,
            "sortBy": [
                *([{"displayName": groups, "desc": False}] if groups else []),
                {"displayName": sort, "desc": True},
            ],
        },
        "transformations": transformations,
    }


# Else each empty cell repeats what the panel says when it is empty.
_EMPTY_CELLS: Final = [
    {
        "matcher": {"id": "byType", "options": kind},
        "properties": [{"id": "noValue", "value": DASH}],
    }
    for kind in ("number", "string")
]


def _is_query(column: Column) -> bool:
    return not column.of.isidentifier()
