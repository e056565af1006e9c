"""Write for the readers of an older minor version, or say what keeps them from reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from quantable.ir.errors import OptionError, UnsupportedError
from quantable.schema import versions
from quantable.schema.fields import default_of
from quantable.schema.generated.layout import LAYOUT
from quantable.schema.versions import Version, spelled


def stamped(
    table: Any, version: Version | None, where: str, layout: Mapping[str, Any] = LAYOUT
) -> Any:
    """Return a root table with the versions that it is written with.

    `min_reader_minor` is the minor version that added the newest thing that the tables use, so that
    an older reader refuses exactly the files that it would misread.

    Args:
        table: The root table.
        version: (major, minor) of the oldest reader that has to read the file; None for this
            version.
        where: The file, for messages.
        layout: The layout of the tables.

    Raises:
        OptionError: The version is not one that can be written.
        UnsupportedError: The tables use what the version does not have.
    """
    asked = versions.current() if version is None else version
    if asked not in versions.WRITABLE:
        known = ", ".join(map(spelled, versions.WRITABLE))
        raise OptionError(
            f"cannot write version {spelled(asked)}: expected one of {known}", where=where
        )
    used = additions(table, layout) if layout["since"] else {}
    newer = sorted(name for name in used if layout["since"][name] > asked[1])
    if newer:
        places = ", ".join(
            f"{name} ({used[name]} times; since {asked[0]}.{layout['since'][name]})"
            for name in newer
        )
        raise UnsupportedError(
            f"version {spelled(asked)} cannot express {places}",
            where=where,
            help="write a newer version, or undo the stage that made them",
        )
    return table._replace(
        version_major=asked[0],
        version_minor=asked[1],
        min_reader_minor=max((layout["since"][name] for name in used), default=0),
        producer=versions.PRODUCER,
    )


def additions(table: Any, layout: Mapping[str, Any]) -> Counter[str]:
    """Return how often tables use each field, enumerator and union member of a minor version."""
    return _additions(table, layout, _changed_tables(layout))


def _changed_tables(layout: Mapping[str, Any]) -> set[str]:
    """Return the tables in which, or below which, there is something of a minor version."""
    owners = {key.partition(".")[0] for key in layout["since"]}
    found: set[str] = set()
    while True:
        reached = {
            name
            for name, fields in layout["tables"].items()
            if name in owners
            or any({field[4], *layout["unions"].get(field[4], ())} & (owners | found)
                   for field in fields)
        }  # fmt: skip
        if reached == found:
            return found
        found = reached


def _additions(table: Any, layout: Mapping[str, Any], changed: set[str]) -> Counter[str]:
    since, found = layout["since"], Counter[str]()
    name = type(table).__name__
    if name not in changed:
        return found
    for field, value in zip(layout["tables"][name], table, strict=True):
        kind, child = field[2], field[4]
        default = default_of(field)
        if value == default:
            continue
        found[f"{name}.{field[1]}"] += 1
        if kind in ("table", "union"):
            found[f"{child}.{type(value).__name__}"] += kind == "union"
            found += _additions(value, layout, changed)
        elif kind == "tables":
            for item in value:
                found += _additions(item, layout, changed)
        elif child:
            codes = value if kind == "scalars" else (value,)
            members = {code: member for member, code in layout["enums"][child].items()}
            found.update(f"{child}.{members[code]}" for code in codes)
    return Counter({key: count for key, count in found.items() if key in since})
