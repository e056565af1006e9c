"""Asserts that a diff reports a planted change, and nothing else."""

from __future__ import annotations

from quantable.ir import Graph
from quantable.ir.diff import GraphDiff, OperationChange, diff_graphs
from tests.ir.diff.planting import Planted

MIRRORED = {"added": "removed", "removed": "added"}


def places(found: GraphDiff, section: str) -> list[str]:
    """Return what the entries of a section are about."""
    if section == "replaced":
        return [ref.name for entry in found.replaced for ref in entry.before]
    entries = getattr(found, section)
    if section in ("parameters", "metadata", "added", "removed"):
        return [entry.name for entry in entries]
    return [f"{entry.operation.name} {entry.slot}".strip() for entry in entries]


def check_reported(graph: Graph, change: Planted) -> None:
    """Fail unless the diff has one entry, about the change; both ways round."""
    found = diff_graphs(graph, change.graph)
    expected = {name: int(name == change.section) for name in found.sizes()}
    assert found.sizes() == expected, (change.label, change.place, found.facts())
    assert change.place in places(found, change.section)
    entry = getattr(found, change.section)[0]
    if isinstance(entry, OperationChange):
        assert tuple(field.name for field in entry.fields) == change.fields, change.label
    back = diff_graphs(change.graph, graph).sizes()
    mirrored = {MIRRORED.get(name, name): size for name, size in found.sizes().items()}
    assert back == mirrored, change.label
