"""Read the .fbs files into the layout that drives decoder, encoder and the gate of changes.

Only what the schemas here use is understood: tables with explicit ids, enums over a scalar type,
one level of vectors, unions of tables, includes, attributes and defaults.
"""

from __future__ import annotations

import math
import pprint
from collections.abc import Iterable
from typing import Any

from lark import Lark, Token, Transformer

Default = bool | int | float | str | None
Field = tuple[int, str, str, str, str, bool, Default]
"""(id, name, kind, code, child, required, default). Kind is scalar, string, table, union, scalars,
strings or tables; code is the `struct` code of a scalar or an element; child is the table, union or
enum; a default that JSON has no number for is its name ('nan')."""
Layout = dict[str, dict[str, Any]]

_GRAMMAR = r"""
start: item*
?item: "namespace" DOTTED ";"                -> ignored
     | "include" STRING ";"                  -> ignored
     | "file_identifier" STRING ";"          -> identifier
     | "file_extension" STRING ";"           -> ignored
     | "root_type" NAME ";"                  -> root
     | "attribute" STRING ";"                -> ignored
     | "enum" NAME ":" NAME "{" _members "}" -> enum
     | "union" NAME "{" NAME ("," NAME)* "}" -> union
     | "table" NAME "{" field* "}"           -> table
_members: _member ("," _member)*
_member: NAME "=" NUMBER
field: NAME ":" type ["=" value] "(" attribute ("," attribute)* ")" ";"
type: NAME -> single
    | "[" NAME "]" -> vector
value: NAME | NUMBER
attribute: NAME [":" NUMBER]
DOTTED: /[A-Za-z_][A-Za-z0-9_.]*\.[A-Za-z0-9_.]+/
NAME: /[A-Za-z_][A-Za-z0-9_]*/
NUMBER: /-?[0-9]+(\.[0-9]+)?/
STRING: /"[^"]*"/
%ignore /\s+/
%ignore /\/\/[^\n]*/
"""

_SCALARS = {
    "bool": "?", "byte": "b", "ubyte": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I",
    "long": "q", "ulong": "Q", "float": "f", "double": "d",
}  # fmt: skip
Declared = tuple[str, tuple[str, bool], str | None, dict[str, int]]


class _Reader(Transformer[Token, None]):
    """Collects declarations; types are resolved afterwards, since they may come later."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, str] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.unions: dict[str, list[str]] = {}
        self.tables: dict[str, list[Declared]] = {}
        self.identifiers: list[str] = []
        self.roots: list[str] = []

    def ignored(self, _: list[Token]) -> None:
        """Take no notice."""

    def identifier(self, items: list[Token]) -> None:
        self.identifiers.append(items[0][1:-1])

    def root(self, items: list[Token]) -> None:
        self.roots.append(str(items[0]))

    def enum(self, items: list[Token]) -> None:
        self.codes[str(items[0])] = _SCALARS[items[1]]
        members = zip(items[2::2], items[3::2], strict=True)
        self.enums[str(items[0])] = {str(name): int(code) for name, code in members}

    def union(self, items: list[Token]) -> None:
        self.unions[str(items[0])] = [str(name) for name in items[1:]]

    def table(self, items: list[Any]) -> None:
        self.tables[str(items[0])] = items[1:]

    def field(self, items: list[Any]) -> Declared:
        return str(items[0]), items[1], items[2], dict(items[3:])

    def value(self, items: list[Token]) -> str:
        return str(items[0])

    def single(self, items: list[Token]) -> tuple[str, bool]:
        return str(items[0]), False

    def vector(self, items: list[Token]) -> tuple[str, bool]:
        return str(items[0]), True

    def attribute(self, items: list[Token | None]) -> tuple[str, int]:
        name, number = items
        return str(name), 1 if number is None else int(number)


def parse_layout(texts: Iterable[str]) -> Layout:
    """Return the layout of schemas: tables, unions, enums, and the root of each identifier."""
    reader = _Reader()
    parser = Lark(_GRAMMAR, parser="lalr", maybe_placeholders=True)
    for text in texts:
        reader.transform(parser.parse(text))
    tables = {
        name: sorted(_field(reader, *field) for field in fields)
        for name, fields in reader.tables.items()
    }
    roots = dict(zip(reader.identifiers, reader.roots, strict=True))
    return {
        "tables": tables, "unions": dict(reader.unions), "enums": dict(reader.enums),
        "roots": roots,
    }  # fmt: skip


def _field(
    reader: _Reader,
    name: str,
    kind: tuple[str, bool],
    default: str | None,
    attributes: dict[str, int],
) -> Field:
    base, is_vector = kind
    plural = "s" if is_vector else ""
    required, slot = "required" in attributes, attributes["id"]
    code = _SCALARS.get(base) or reader.codes.get(base)
    if code:
        child = base if base in reader.codes else ""
        number = None if is_vector else _default(code, default)
        return slot, name, "scalar" + plural, code, child, required, number
    if base == "string":
        return slot, name, "string" + plural, "", "", required, None
    if base in reader.unions:
        return slot, name, "union", "", base, required, None
    return slot, name, "table" + plural, "", base, required, None


def _default(code: str, text: str | None) -> Default:
    if code == "?":
        return text == "true"
    if code in "fd":
        number = float(text or 0)
        return number if math.isfinite(number) else str(number)
    return int(text or 0)


def layout_source(layout: Layout) -> str:
    """Return the module that holds a layout as a constant."""
    body = pprint.pformat(layout, width=100, sort_dicts=False)
    return f'"""Written by quantable.schema.generate; do not edit."""\n\nLAYOUT = {body}\n'
