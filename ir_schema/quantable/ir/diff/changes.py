"""What a diff reports: one class a section, each with its JSON form."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Fact = dict[str, object]


class Attention(enum.Enum):
    """What a reader can restrict a diff to."""

    STRUCTURE = "structure"  # operations, wires, attributes and types
    QUANTIZATION = "quantization"  # configs and rows
    VALUES = "values"  # contents of parameters


EVERYTHING = frozenset(Attention)


@dataclass(frozen=True, slots=True)
class OperationRef:
    """An operation as messages name it.

    Attributes:
        name, kind: Of the operation; `name` is "a -> b" where the two graphs name it differently.
        position: In the first graph (in the second for one that is only there).
    """

    name: str
    kind: str
    position: int

    def facts(self) -> Fact:
        return {"name": self.name, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class Replacement:
    """Operations that became others of the same provenance."""

    before: tuple[OperationRef, ...]
    after: tuple[OperationRef, ...]
    sources: tuple[str, ...]

    def facts(self) -> Fact:
        return {
            "before": [ref.facts() for ref in self.before],
            "after": [ref.facts() for ref in self.after],
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One property, before and after.

    Attributes:
        name: Of the property.
        before, after: As text.
        size: How far apart, as text; empty where that has no meaning.
    """

    name: str
    before: str
    after: str
    size: str = ""

    def facts(self) -> Fact:
        held: Fact = {"field": self.name, "before": self.before, "after": self.after}
        return {**held, "size": self.size} if self.size else held


@dataclass(frozen=True, slots=True)
class OperationChange:
    """Properties of one operation, or of one of its slots, that changed.

    Attributes:
        operation: Which one.
        slot: "in0", "out1", ...; empty for the operation itself.
        fields: What changed.
        by: The pass that did it, as far as the second file says.
        follows: Slots whose derived rows and stored integers changed by this alone.
    """

    operation: OperationRef
    slot: str
    fields: tuple[FieldChange, ...]
    by: str = ""
    follows: tuple[str, ...] = ()

    def facts(self) -> Fact:
        held: Fact = {"operation": self.operation.facts(), "slot": self.slot}
        held["changes"] = [change.facts() for change in self.fields]
        if self.by:
            held["by"] = self.by
        if self.follows:
            held["follows"] = list(self.follows)
        return held


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """Contents that changed.

    Attributes:
        name: Of the parameter.
        readers: "operation slot" of those that read it.
        forms: Which contents: current, original, baked.
        before, after: Their types.
        elements, differing: Their number; None where the types do not compare.
        max_abs: Largest absolute difference; of baked contents, of the numbers they stand for.
        sqnr_db: Power of the contents before over that of the difference.
    """

    name: str
    readers: tuple[str, ...]
    forms: tuple[str, ...]
    before: str
    after: str
    elements: int | None = None
    differing: int | None = None
    max_abs: float | None = None
    sqnr_db: float | None = None

    def facts(self) -> Fact:
        return {
            "parameter": self.name, "readers": list(self.readers), "forms": list(self.forms),
            "before": self.before, "after": self.after, "elements": self.elements,
            "differing": self.differing, "max_abs": self.max_abs, "sqnr_db": self.sqnr_db,
        }  # fmt: skip


@dataclass(frozen=True)
class GraphDiff:
    """What differs between two graphs; nothing else is in it.

    Names of operations, values and rows, and the order of operations, are no difference.

    Attributes:
        added, removed: Operations that are in one graph only.
        replaced: Operations that became others, by provenance.
        rewired: Operations (and the graph's outputs) that read something else.
        quantization: Configs and rows.
        parameters: Contents.
        attributes: Attributes and types of operations and of the graph's inputs.
        metadata: Everything else: level, target, opset, plan, history, provenance.
    """

    added: tuple[OperationRef, ...] = ()
    removed: tuple[OperationRef, ...] = ()
    replaced: tuple[Replacement, ...] = ()
    rewired: tuple[OperationChange, ...] = ()
    quantization: tuple[OperationChange, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    attributes: tuple[OperationChange, ...] = ()
    metadata: tuple[FieldChange, ...] = field(default=())

    @property
    def is_same(self) -> bool:
        return not any(self.sizes().values())

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of each section, in the order of the report."""
        return {
            "added": len(self.added), "removed": len(self.removed),
            "replaced": len(self.replaced), "rewired": len(self.rewired),
            "quantization": len(self.quantization), "parameters": len(self.parameters),
            "attributes": len(self.attributes), "metadata": len(self.metadata),
        }  # fmt: skip

    def verdict(self) -> str:
        """Return the result in one line."""
        words = {
            "added": "{} added", "removed": "{} removed", "replaced": "{} replaced",
            "rewired": "{} rewired", "quantization": "{} quantized differently",
            "parameters": "{} with other contents", "attributes": "{} with other attributes",
            "metadata": "{} of metadata",
        }  # fmt: skip
        found = [words[name].format(size) for name, size in self.sizes().items() if size]
        return f"different: {', '.join(found)}" if found else "same"

    def restricted(self, attention: Iterable[Attention]) -> GraphDiff:
        """Return what concerns some levels of attention; all of it for none or for every level."""
        chosen = frozenset(attention)
        if not chosen or chosen == EVERYTHING:
            return self
        result = replace(self, metadata=())
        if Attention.STRUCTURE not in chosen:
            result = replace(
                result, added=(), removed=(), replaced=(), rewired=(), attributes=()
            )  # fmt: skip
        if Attention.QUANTIZATION not in chosen:
            result = replace(result, quantization=())
        if Attention.VALUES not in chosen:
            result = replace(result, parameters=())
        return result

    def facts(self) -> Fact:
        """Return the report as JSON values, in the order of the text."""
        return {
            "verdict": self.verdict(),
            "same": self.is_same,
            "sizes": self.sizes(),
            "added": [ref.facts() for ref in self.added],
            "removed": [ref.facts() for ref in self.removed],
            "replaced": [entry.facts() for entry in self.replaced],
            "rewired": [entry.facts() for entry in self.rewired],
            "quantization": [entry.facts() for entry in self.quantization],
            "parameters": [entry.facts() for entry in self.parameters],
            "attributes": [entry.facts() for entry in self.attributes],
            "metadata": [entry.facts() for entry in self.metadata],
        }
