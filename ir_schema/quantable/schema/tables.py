"""The tables of the schemas as named tuples: what is decoded, encoded and upgraded.

A scalar is a number, an enumerator its code, a string `str`, a vector a tuple (of
bytes: `bytes`), a union the tuple of the table that it holds. Every field has its default; an
absent vector is empty.
"""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

from quantable.schema.fields import default_of
from quantable.schema.generated.layout import LAYOUT


def tables_of(layout: dict[str, Any]) -> dict[str, Any]:
    """Return a named tuple class for every table of a layout."""
    return {
        name: namedtuple(
            name,
            [field[1] for field in fields],
            defaults=[default_of(field) for field in fields],
            module=__name__,
        )
        for name, fields in layout["tables"].items()
    }


TABLES = tables_of(LAYOUT)
"""The classes of this version, by name of the table."""

T: Any = SimpleNamespace(**TABLES)
"""The same as attributes."""
