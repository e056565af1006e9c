"""The gate of schema changes: which version a change needs, and refusal of any other.

The rules are those of README.md, section 2. Every change since the last release is classified:

- MINOR: a table, an enumerator (with a new code), a member at the end of a union, an enum, a union,
  or a field that is not required was added. Older files are read as they are.
- MAJOR: anything else. Files of the major version before need an upgrade, and another identifier.

A schema without changes has to keep its version.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantable.ir.errors import InternalError
from quantable.schema.versions import UPGRADES, Version, spelled

Layout = Mapping[str, Any]
_NAME, _REQUIRED = 1, 5
_PROPERTIES = {2: "kind", 3: "type", 4: "type", 5: "required", 6: "default"}
"""What a field holds after its id and name."""


class Weight(enum.IntEnum):
    """Which version a change bumps."""

    NONE = 0
    MINOR = 1
    MAJOR = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two schemas.

    Attributes:
        weight: Which version it bumps.
        place: Table, field, enum or enumerator; for an addition the key in `since`.
        what: What happened.
    """

    weight: Weight
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} ({self.weight.name.lower()})"


def changes(old: Layout, new: Layout) -> list[Change]:
    """Return every difference between two layouts, additions as far down as they go."""
    found = [*_fields(old["tables"], new["tables"])]
    for kind in ("tables", "unions", "enums"):
        found += _names(kind.removesuffix("s"), old[kind], new[kind])
    for name in sorted(old["enums"].keys() & new["enums"].keys()):
        found += _enumerators(name, old["enums"][name], new["enums"][name])
    for name in sorted(old["unions"].keys() & new["unions"].keys()):
        found += _members(name, old["unions"][name], new["unions"][name])
    if old["roots"] != new["roots"]:
        text = f"expected {old['roots']}, found {new['roots']}"
        found.append(Change(Weight.MAJOR, "roots and identifiers", text))
    return found


def _names(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(old.keys() - new.keys()):
        yield Change(Weight.MAJOR, name, f"the {kind} was removed or renamed")
    for name in sorted(new.keys() - old.keys()):
        yield Change(Weight.MINOR, name, f"the {kind} was added")


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for table in sorted(old.keys() & new.keys()):
        before = {field[0]: field for field in old[table]}
        after = {field[0]: field for field in new[table]}
        for number in sorted(before.keys() | after.keys()):
            yield from _field(table, before.get(number), after.get(number))


def _field(
    table: str, old: tuple[Any, ...] | None, new: tuple[Any, ...] | None
) -> Iterator[Change]:
    if new is None:
        assert old is not None
        yield Change(
            Weight.MAJOR, f"{table}.{old[_NAME]}", "the field was removed or its id changed"
        )
    elif old is None:
        weight = Weight.MAJOR if new[_REQUIRED] else Weight.MINOR
        required = ", and is required" if new[_REQUIRED] else ""
        yield Change(weight, f"{table}.{new[_NAME]}", f"the field was added{required}")
    else:
        place = f"{table}.{old[_NAME]}"
        if old[_NAME] != new[_NAME]:
            yield Change(Weight.MAJOR, place, f"id {old[0]} is now '{new[_NAME]}'")
        for index, name in _PROPERTIES.items():
            if repr(old[index]) != repr(new[index]):
                text = f"the {name} was {old[index]!r} and is {new[index]!r}"
                yield Change(Weight.MAJOR, place, text)


def _enumerators(name: str, old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[Change]:
    for member in sorted(old.keys() | new.keys()):
        before, after = old.get(member), new.get(member)
        place = f"{name}.{member}"
        if before is None:
            reused = after in old.values()
            weight = Weight.MAJOR if reused else Weight.MINOR
            yield Change(weight, place, f"the enumerator was added as {after}")
        elif before != after:
            yield Change(Weight.MAJOR, place, f"the code was {before} and is {after}")


def _members(name: str, old: list[str], new: list[str]) -> Iterator[Change]:
    if new[: len(old)] != old:
        yield Change(Weight.MAJOR, name, f"the members were {old} and are {new}")
    else:
        for member in new[len(old) :]:
            yield Change(Weight.MINOR, f"{name}.{member}", "the union member was added")


def check_change(releases: Mapping[Version, Layout], layout: Layout, version: Version) -> None:
    """Refuse a schema whose version is not the one that its changes need.

    Args:
        releases: The layout of every released version.
        layout: The layout as it is.
        version: The version that the software says it has.

    Raises:
        InternalError: Says which version is needed, and because of what.
    """
    if version in releases:
        last = version
    else:
        last = max((v for v in releases if v < version), default=version)
    if last != max(releases, default=last):
        newest = spelled(max(releases))
        raise InternalError(f"version {spelled(version)}: version {newest} is released already")
    if last not in releases:
        return
    found = changes(releases[last], layout)
    weight = max((change.weight for change in found), default=Weight.NONE)
    needed = {
        Weight.NONE: last,
        Weight.MINOR: (last[0], last[1] + 1),
        Weight.MAJOR: (last[0] + 1, 0),
    }[weight]
    if version != needed:
        listed = "; ".join(map(str, found)) or "nothing changed"
        raise InternalError(
            f"schema: expected version {spelled(needed)}, found {spelled(version)}: {listed}",
            help="set VERSION_MAJOR and VERSION_MINOR, or undo the change",
        )
    if weight is Weight.MAJOR:
        _check_major(releases[last], layout, last)


def _check_major(old: Layout, new: Layout, last: Version) -> None:
    kept = old["roots"].keys() & new["roots"].keys()
    if kept:
        raise InternalError(
            f"schema: expected other file identifiers than version {spelled(last)}, "
            f"found {', '.join(sorted(kept))}"
        )
    roots = set(old["roots"].values())
    if last[0] not in UPGRADES or set(UPGRADES[last[0]].functions) != roots:
        raise InternalError(
            f"schema: expected an upgrade from version {last[0]} for {', '.join(sorted(roots))}",
            help="add it to UPGRADES in versions.py",
        )


def since(releases: Mapping[Version, Layout], layout: Layout, version: Version) -> dict[str, int]:
    """Return the minor version of every addition since the first one of this major version.

    Returns:
        By 'Table.field', 'Enum.MEMBER' or 'Union.Member'. What belongs to a new table is not
        listed: it cannot be used without a new field or member.
    """
    steps = {v: held for v, held in sorted(releases.items()) if v[0] == version[0]}
    steps[version] = layout
    found: dict[str, int] = {}
    before: Layout | None = None
    for (_, minor), held in steps.items():
        if before is not None:
            for change in changes(before, held):
                if "." in change.place:
                    found[change.place] = minor
        before = held
    return found
