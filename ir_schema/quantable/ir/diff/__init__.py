"""What differs between two graphs, in terms of operations and quantization.

Two graphs are the same if one is the other under other names of operations, values and rows, and
another order of operations. What differs is reported once, where it arose.
"""

from __future__ import annotations

from collections.abc import Iterable

from quantable.ir.diff.attributes import attribute_changes
from quantable.ir.diff.changes import (
    EVERYTHING,
    Attention,
    FieldChange,
    GraphDiff,
    OperationChange,
    OperationRef,
    ParameterChange,
    Replacement,
)
from quantable.ir.diff.matching import Matching
from quantable.ir.diff.measure import Measure
from quantable.ir.diff.metadata import metadata_changes
from quantable.ir.diff.parameters import parameter_changes
from quantable.ir.diff.quantization import Quantization
from quantable.ir.diff.structure import Wires, replacements, single_ref
from quantable.ir.graph import Graph

__all__ = [
    "Attention", "FieldChange", "GraphDiff", "Matching", "Measure", "OperationChange",
    "OperationRef", "ParameterChange", "Replacement", "diff_graphs",
]  # fmt: skip


def diff_graphs(a: Graph, b: Graph, attention: Iterable[Attention] = ()) -> GraphDiff:
    """Compare two graphs of any levels.

    Args:
        a: The graph before.
        b: The graph after.
        attention: What to look at; nothing or everything: all, metadata included.

    Returns:
        What differs. Contents are read only where their digests differ, and only if asked for.
    """
    chosen = frozenset(attention) or EVERYTHING
    matching = Matching(a, b)
    replaced, removed, added, changed = replacements(matching)
    quantization = Quantization(matching)
    contents: Iterable[ParameterChange] = ()
    if Attention.VALUES in chosen:
        contents = parameter_changes(matching, quantization.changed_slots())
    found = GraphDiff(
        added=tuple(single_ref(matching.b, index) for index in added),
        removed=tuple(single_ref(matching.a, index) for index in removed),
        replaced=tuple(replaced),
        rewired=tuple(Wires(matching).changes()),
        quantization=tuple(quantization.changes()),
        parameters=tuple(contents),
        attributes=tuple(attribute_changes(matching)),
        metadata=tuple(metadata_changes(matching, changed)),
    )
    return found.restricted(chosen)
