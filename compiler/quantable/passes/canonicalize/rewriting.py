"""Steps that several rewrites take: provenance, scalars, bypassing, removing what is dead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, GraphEditor, Operation, Shape
from quantable.passes.base import PassContext

Float64 = npt.NDArray[np.float64]
Rewrite = Callable[[GraphEditor, Operation], str | None]
"""Rewrites around one operation. Returns '' where it was done, None where there is nothing to say,
else why the operation stays."""


def rewritten(
    graph: Graph,
    context: PassContext,
    name: str,
    kinds: Collection[str],
    rewrite: Rewrite,
    *,
    from_end: bool = False,
) -> Graph:
    """Return a graph with operations of some kinds rewritten, each in its present form.

    Args:
        graph: What the pass is given.
        context: Of the pass; remarks say which operations stay, and why.
        name: Of the pass.
        kinds: Of the operations to begin at.
        rewrite: See `Rewrite`.
        from_end: Whether to begin with the last operation.

    Returns:
        The same graph where nothing was rewritten.
    """
    editor, changes = GraphEditor(graph), 0
    operations = [op for op in graph.operations if op.kind in kinds]
    for op in context.rewrites.over(editor, reversed(operations) if from_end else operations):
        current = editor.operations.get(op.name)
        reason = None if current is None else rewrite(editor, current)
        if reason:
            context.remarks.append((name, op.where(), f"stays: {reason}"))
        changes += reason == ""
    return editor.finish() if changes else graph


def merged_sources(*operations: Operation) -> tuple[str, ...]:
    """Return the source nodes of operations that become one; give them in the model's order."""
    return tuple(dict.fromkeys(name for op in operations for name in op.sources))


def sole_user(editor: GraphEditor, value: str) -> Operation | None:
    """Return the operation that reads a value if only one does, once, and no output is it."""
    uses = editor.uses(value)
    return uses[0][0] if len(uses) == 1 and value not in editor.outputs else None


def is_float(editor: GraphEditor, value: str) -> bool:
    """Whether the elements of a value are floating point numbers."""
    return editor.values[value].is_real


def is_float_parameter(editor: GraphEditor, value: str) -> bool:
    """Whether a value is a parameter of floating point numbers."""
    return value in editor.parameters and is_float(editor, value)


def float_parameter(editor: GraphEditor, value: str) -> Float64 | None:
    """Return the contents of a float parameter in float64, None for any other value."""
    if not is_float_parameter(editor, value):
        return None
    return editor.array(value).astype(np.float64)


def scalar_parameter(editor: GraphEditor, value: str) -> float | None:
    """Return the number that a float parameter of one element holds, in any rank."""
    ref = editor.parameters.get(value)
    if ref is None or ref.element_count != 1 or not ref.dtype.is_float:
        return None
    return float(editor.array(value).reshape(-1)[0])


def integers_parameter(editor: GraphEditor, value: str) -> tuple[int, ...] | None:
    """Return the elements of an integer parameter, flat."""
    ref = editor.parameters.get(value)
    if ref is None or not ref.dtype.is_integer:
        return None
    return tuple(int(item) for item in editor.array(value).reshape(-1))


def rank_of(editor: GraphEditor, value: str) -> int | None:
    """Return the rank of a value."""
    shape = editor.values[value].shape
    return None if shape is None else len(shape)


def known_shape(shape: Shape | None) -> tuple[int, ...] | None:
    """Return a shape if every dimension is a number."""
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return tuple(int(dim) for dim in shape)


def bypass(editor: GraphEditor, operation: Operation, value: str) -> bool:
    """Remove an operation whose first output equals one of its inputs.

    A graph output keeps its name: then the producer of `value` gives its result that name. Where
    that cannot be (an input or a parameter that is an output), the operation stays.

    Returns:
        Whether the operation was removed.
    """
    output = operation.outputs[0]
    if output not in editor.outputs:
        editor.remove(operation)
        editor.replace_uses(output, value)
        return True
    producer = editor.producer(value)
    if producer is None or value in editor.outputs:
        return False
    editor.remove(operation)
    names = tuple(output if name == value else name for name in producer.outputs)
    editor.replace(replace(producer, outputs=names))
    for reader, _ in editor.uses(value):
        current = editor.operations[reader.name]
        inputs = tuple(output if name == value else name for name in current.inputs)
        editor.replace(replace(current, inputs=inputs))
    return True


def remove_dead(editor: GraphEditor, among: Iterable[Operation] | None = None) -> int:
    """Remove operations that no output depends on.

    Args:
        among: Where to begin; by default every operation.

    Returns:
        How many were removed.
    """
    waiting = list(editor.operations.values() if among is None else among)
    removed = 0
    while waiting:
        op = editor.operations.get(waiting.pop().name)
        if op is None:
            continue
        if any(name in editor.outputs or editor.uses(name) for name in op.outputs if name):
            continue
        editor.remove(op)
        removed += 1
        producers = [editor.producer(name) for name in op.inputs if name]
        waiting += [producer for producer in producers if producer is not None]
    return removed
