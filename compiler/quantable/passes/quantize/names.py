"""How users name operations: by their own names, or by those of ONNX nodes that they came from."""

from __future__ import annotations

from quantable.ir import Graph, Operation


def operations_by_name(graph: Graph) -> dict[str, list[Operation]]:
    """Return the operations that each name stands for.

    A name may be that of an operation, and of a node that others came from: it stands for all.
    """
    found = {op.name: [op] for op in graph.operations}
    for op in graph.operations:
        for source in op.sources:
            held = found.setdefault(source, [])
            if op not in held:
                held.append(op)
    return found
