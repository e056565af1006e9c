"""Read the .fbs files into the layout that drives the byte verifier.

Only what the schemas here use is understood: tables with explicit ids, enums over a scalar type,
one level of vectors, unions of tables, includes, attributes and defaults.
"""

from __future__ import annotations

import pprint
from collections.abc import Iterable
from typing import Any

from lark import Lark, Token, Transformer

Field = tuple[int, str, str, int, str, bool]
"""(id, name, kind, bytes, child, required). Kind is scalar, string, table, union, scalars, strings
or tables; bytes is the size of a scalar or an element; child is the table or union."""
Layout = dict[str, dict[str, Any]]

_GRAMMAR = r"""
start: item*
?item: "namespace" DOTTED ";"                -> ignored
     | "include" STRING ";"                  -> ignored
     | "file_identifier" STRING ";"          -> identifier
     | "file_extension" STRING ";"           -> ignored
     | "root_type" NAME ";"                  -> root
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
    "bool": 1, "byte": 1, "ubyte": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4,
    "long": 8, "ulong": 8, "float": 4, "double": 8,
}  # fmt: skip


class _Reader(Transformer[Token, None]):
    """Collects declarations; types are resolved afterwards, since they may come later."""

    def __init__(self) -> None:
        super().__init__()
        self.enums: dict[str, int] = {}
        self.unions: dict[str, list[str]] = {}
        self.tables: dict[str, list[tuple[str, tuple[str, bool], dict[str, int]]]] = {}
        self.identifiers: list[str] = []
        self.roots: list[str] = []

    def ignored(self, _: list[Token]) -> None:
        """Take no notice."""

    def identifier(self, items: list[Token]) -> None:
        self.identifiers.append(items[0][1:-1])

    def root(self, items: list[Token]) -> None:
        self.roots.append(str(items[0]))

    def enum(self, items: list[Token]) -> None:
        self.enums[str(items[0])] = _SCALARS[items[1]]

    def union(self, items: list[Token]) -> None:
        self.unions[str(items[0])] = [str(name) for name in items[1:]]

    def table(self, items: list[Any]) -> None:
        self.tables[str(items[0])] = items[1:]

    def field(self, items: list[Any]) -> tuple[str, tuple[str, bool], dict[str, int]]:
        return str(items[0]), items[1], dict(items[3:])

    def single(self, items: list[Token]) -> tuple[str, bool]:
        return str(items[0]), False

    def vector(self, items: list[Token]) -> tuple[str, bool]:
        return str(items[0]), True

    def attribute(self, items: list[Token | None]) -> tuple[str, int]:
        name, number = items
        return str(name), 1 if number is None else int(number)


def parse_layout(texts: Iterable[str]) -> Layout:
    """Return the layout of schemas: tables, unions, and the root of each file identifier."""
    reader = _Reader()
    parser = Lark(_GRAMMAR, parser="lalr", maybe_placeholders=True)
    for text in texts:
        reader.transform(parser.parse(text))
    tables = {
        name: [_field(reader, *field) for field in fields] for name, fields in reader.tables.items()
    }
    roots = dict(zip(reader.identifiers, reader.roots, strict=True))
    return {"tables": tables, "unions": dict(reader.unions), "roots": roots}


def _field(reader: _Reader, name: str, kind: tuple[str, bool], attributes: dict[str, int]) -> Field:
    base, is_vector = kind
    plural = "s" if is_vector else ""
    required, slot = "required" in attributes, attributes["id"]
    size = _SCALARS.get(base) or reader.enums.get(base)
    if size:
        return slot, name, "scalar" + plural, size, "", required
    if base == "string":
        return slot, name, "string" + plural, 4, "", required
    if base in reader.unions:
        return slot, name, "union", 4, base, required
    return slot, name, "table" + plural, 4, base, required


def layout_source(layout: Layout) -> str:
    """Return the module that holds a layout as a constant."""
    body = pprint.pformat(layout, width=100, sort_dicts=False)
    return f'"""Written by quantable.schema.generate; do not edit."""\n\nLAYOUT = {body}\n'
