"""A diff as text for a person: nothing that did not change, entries that say the same together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from quantable.ir.diff import (
    FieldChange,
    GraphDiff,
    OperationChange,
    OperationRef,
    ParameterChange,
    Replacement,
)

MOST_NAMES = 6
"""Names that one line lists before it counts the rest."""
_BEFORE, _AFTER, _TITLE, _QUIET = "red", "green", "bold", "dim"


def diff_lines(found: GraphDiff) -> Iterator[Text]:
    """Yield the lines of a diff, verdict first."""
    yield Text(found.verdict(), "bold green" if found.is_same else "bold yellow")
    sections: tuple[tuple[str, Iterable[Text]], ...] = (
        ("operations added", (_single("+ ", ref, _AFTER) for ref in found.added)),
        ("operations removed", (_single("- ", ref, _BEFORE) for ref in found.removed)),
        ("operations replaced", (_replaced(entry) for entry in found.replaced)),
        ("operations rewired", _grouped(found.rewired)),
        ("quantization changed", _grouped(found.quantization)),
        ("parameters changed", (_parameter(entry) for entry in found.parameters)),
        ("attributes changed", _grouped(found.attributes)),
        ("metadata changed", (_field(change) for change in found.metadata)),
    )
    for title, lines in sections:
        section = list(lines)
        if section:
            yield Text()
            yield Text(title, _TITLE)
            yield from (Text("  ").append_text(line) for line in section)


def _single(sign: str, ref: OperationRef, style: str) -> Text:
    return Text(f"{sign}{ref.name} ({ref.kind})", style)


def named(refs: Sequence[OperationRef]) -> str:
    """Return operations as one text."""
    return " + ".join(f"{ref.name} ({ref.kind})" for ref in refs)


def _replaced(entry: Replacement) -> Text:
    counts = f"{len(entry.before)} to {len(entry.after)}: "
    return Text.assemble(
        (counts, _QUIET), (named(entry.before), _BEFORE), " -> ", (named(entry.after), _AFTER)
    )


def place(change: OperationChange) -> str:
    """Return where something changed."""
    kind = f" ({change.operation.kind})" if change.operation.kind else ""
    return f"{change.operation.name}{kind} {change.slot}".rstrip()


def _grouped(changes: Sequence[OperationChange]) -> Iterator[Text]:
    """Yield the changes; places with the very same change stand together."""
    groups: dict[tuple[object, ...], list[OperationChange]] = {}
    for change in changes:
        groups.setdefault((change.fields, change.by, change.follows), []).append(change)
    for members in groups.values():
        yield Text(_listed([place(change) for change in members]))
        yield from (Text("    ").append_text(_field(field)) for field in members[0].fields)
        if members[0].by:
            yield Text(f"    by {members[0].by}", _QUIET)
        if members[0].follows:
            yield Text(f"    followed by {_listed(members[0].follows)}", _QUIET)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _field(change: FieldChange) -> Text:
    text = Text.assemble(
        f"{change.name}: ", (change.before, _BEFORE), " -> ", (change.after, _AFTER)
    )
    return text.append(f" ({change.size})", _QUIET) if change.size else text


def parameter_size(entry: ParameterChange) -> str:
    """Return how far apart the contents are, as text."""
    if entry.max_abs is None:
        return "cannot be compared"
    text = f"{entry.differing} of {entry.elements} elements, max abs {entry.max_abs:.6g}"
    return f"{text}, SQNR {entry.sqnr_db:.2f} dB" if entry.sqnr_db is not None else text


def _parameter(entry: ParameterChange) -> Text:
    text = Text(f"{entry.name} ({', '.join(entry.forms)}; read by {_listed(entry.readers)}): ")
    if entry.before != entry.after:
        text.append(entry.before, _BEFORE).append(" -> ").append(entry.after, _AFTER).append(", ")
    return text.append(parameter_size(entry))
