"""Infer every shape, and replace shape arithmetic by constants.

Before:
    x: f32[N,4,2]; start: i64[1] = [0]; end: i64[1] = [1]; rest: i64[1] = [8]
    s = Shape(x)
    n = Slice(s, start, end)
    t = Concat(n, rest) {axis=0}
    y = Reshape(x, t)
    return y
After:
    x: f32[N,4,2]; y.shape: i64[2] = [-1, 8]
    y = Reshape(x, y.shape)
    return y

Preconditions:
    1. An integer value of at most 1024 elements, all of which are numbers, becomes a parameter.
    2. The target of a Reshape, the ends of a Slice and the like may hold symbols: a Reshape takes 0
       where a dimension is passed through and -1 for one more, a Slice takes the largest integer
       where it goes to the end; with more symbols the arithmetic stays.
    3. A symbol that only one number can satisfy is replaced by it, in the graph's inputs as well.

What becomes constant is computed at once (see fold-constants), since that may give new shapes.

Numerics: bit-exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation, Shape
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.fold_constants import FoldConstants
from quantable.passes.canonicalize.rewriting import remove_dead
from quantable.passes.canonicalize.shapes.inference import infer
from quantable.passes.canonicalize.shapes.site import Sizes, Tensor, known
from quantable.passes.canonicalize.shapes.targets import reshape_target
from quantable.passes.rewrite_limit import Rewrites

_FAR = (1 << 63) - 1


@dataclass(frozen=True)
class FoldShapes(Pass):
    """See the module's docstring.

    Attributes:
        weights: As of fold-constants.
    """

    name: ClassVar[str] = "fold-shapes"
    summary: ClassVar[str] = "infer shapes and compute shape arithmetic, symbols included"
    weights: bool = True

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Infer, replace and fold until nothing changes; every round removes operations."""
        fold = FoldConstants(weights=self.weights)
        while True:
            folded = fold.run(_replaced(graph, context.rewrites), context)
            if folded is graph:
                return graph
            graph = folded


def _replaced(graph: Graph, rewrites: Rewrites) -> Graph:
    inference = infer(graph)
    if inference.graph is not graph and not rewrites.admit(*_newly_known(graph, inference.graph)):
        return graph
    editor = GraphEditor(inference.graph)
    changes = 0
    for op in rewrites.over(editor, inference.graph.operations):
        changes += _made_constant(editor, op, inference.tensors)
    for op in rewrites.over(editor, list(editor.operations.values())):
        changes += _made_static(editor, op, inference.tensors)
    changes += remove_dead(editor)
    return editor.finish() if changes else inference.graph


def _newly_known(graph: Graph, inferred: Graph) -> list[str]:
    """Return the operations that have an output of which something became known."""
    values = graph.values
    return [
        op.name
        for op in graph.operations
        if any(inferred.values[name] != values[name] for name in op.outputs if name)
    ]


def _made_constant(editor: GraphEditor, op: Operation, tensors: Mapping[str, Tensor]) -> bool:
    """Replace an operation whose outputs are all numbers by parameters (precondition 1)."""
    found = {name: _numbers(tensors.get(name)) for name in op.outputs if name}
    arrays = {name: array for name, array in found.items() if array is not None}
    if len(arrays) != len(found):
        return False
    editor.remove(op)
    for name, array in arrays.items():
        editor.make_parameter(name, array)
    return True


def _numbers(tensor: Tensor | None) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    if tensor is None or tensor.elements is None:
        return None
    numbers = known(tuple(tensor.elements.reshape(-1).tolist()))
    if numbers is None:
        return None
    return np.array(numbers, tensor.dtype.numpy).reshape(tensor.elements.shape)


def _made_static(editor: GraphEditor, op: Operation, tensors: Mapping[str, Tensor]) -> bool:
    """Give an operation a constant where its symbolic operand has an equal one (precondition 2)."""
    rule = {"Reshape": (1, "shape"), "Slice": (2, "ends"), "Expand": (1, "shape")}.get(op.kind)
    if rule is None or op.inputs[rule[0]] in editor.parameters:
        return False
    slot, role = rule
    x, y, asked = (tensors.get(name) for name in (op.inputs[0], op.outputs[0], op.inputs[slot]))
    if x is None or y is None:
        return False
    numbers = {
        "Reshape": lambda: reshape_target(_dims(x.sizes), _dims(y.sizes)),
        "Slice": lambda: _slice_ends(x, asked, tensors, op),
        "Expand": lambda: _expand_target(x.sizes, y.sizes),
    }[op.kind]()
    if numbers is None:
        return False
    parameter = editor.add_parameter(f"{op.outputs[0]}.{role}", np.array(numbers, np.int64))
    inputs = tuple(parameter if i == slot else name for i, name in enumerate(op.inputs))
    # A zero copies a dimension in these numbers, whatever one that is computed meant.
    kept = {name: value for name, value in op.attributes.items() if name != "allowzero"}
    editor.replace(replace(op, inputs=inputs, attributes=kept))
    return True


def _dims(sizes: Sizes) -> Shape:
    return tuple(size.dim for size in sizes)


def _slice_ends(
    x: Tensor, asked: Tensor | None, tensors: Mapping[str, Tensor], op: Operation
) -> list[int] | None:
    if asked is None or asked.elements is None:
        return None
    ends = asked.elements.reshape(-1).tolist()
    axes = tuple(range(len(ends)))
    if len(op.inputs) > 3 and op.inputs[3]:
        held = tensors[op.inputs[3]].elements
        found = None if held is None else known(tuple(held.reshape(-1).tolist()))
        if found is None:
            return None
        axes = found
    numbers = [
        _FAR if end == x.sizes[a] else end.constant for end, a in zip(ends, axes, strict=True)
    ]
    return None if None in numbers else [n for n in numbers if n is not None]


def _expand_target(x: Sizes, y: Sizes) -> list[int] | None:
    """A symbol that the input has already needs no expansion: 1 broadcasts against it."""
    padded = [None] * (len(y) - len(x)) + list(x)
    numbers = [1 if own == size else size.constant for own, size in zip(padded, y, strict=True)]
    return None if None in numbers else [n for n in numbers if n is not None]
