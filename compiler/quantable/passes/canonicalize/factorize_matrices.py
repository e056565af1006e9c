"""Replace a matrix by a product of two that quantize better.

Before:
    x: f32[N,1]; w: f32[1,2] = [[8, 1]]; b: f32[2] = [1, 2]
    y = quantable.Linear(x, w, b)
    return y
After:
    x: f32[N,1]; w: f32[1,2] = [[6.3639610306789285, 4.949747468305834]]; b: f32[2] = [1, 2]
    y.weight: f32[2,2] = [[0.70710678, 0.70710678], [0.70710678, -0.70710678]]
    y.inner = quantable.Linear(x, w)
    y = quantable.Linear(y.inner, y.weight, b)
    return y

``x W + b`` becomes ``(x A) B + b`` with ``A B = W``. "hadamard" takes an orthogonal matrix of equal
elements for B, which rounds without any error: every column of A is a sum of all columns of W, so
that outliers are spread over all. "svd" shares the singular values between A and B; with
``energy`` below 1 the small ones are left out, and two thin matrices may cost less than one thick.
The activation between is quantized too: each layer is kept as it is unless the network gains.

Preconditions:
    1. Linear, or Conv with a kernel of 1, stride 1, no padding and one group, with a weight of its
       own.
    2. For "hadamard" the number of outputs is a power of two.

Numerics: real-equal, with ``energy=1``.
See: PPQ's MatrixFactorizationPass; Ashkboos et al., QuaRot, 2024, for Hadamard matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation, OptionError, UnknownNameError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import LAYERS, has_bias, has_own_parameters
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.canonicalize.trials import Trials, judged_on, needed_judge

Method = Literal["hadamard", "svd"]


@dataclass(frozen=True)
class FactorizeMatrices(Pass):
    """See the module's docstring.

    Attributes:
        methods: What is tried for every layer.
        energy: Part of the sum of squared singular values that "svd" keeps.
        layers: Names of the layers to try; empty for all.
        gain: Part of the error by which it has to fall: another layer has to pay.
    """

    name: ClassVar[str] = "factorize-matrices"
    summary: ClassVar[str] = "replace a matrix by a product of two that quantize better"
    methods: tuple[Method, ...] = ("hadamard", "svd")
    energy: float = 1.0
    layers: tuple[str, ...] = ()
    gain: float = 0.05

    def check(self) -> None:
        if not 0.0 <= self.gain < 1.0:
            raise OptionError(f"gain: expected at least 0, less than 1, found {self.gain:g}")
        if not 0.0 < self.energy <= 1.0:
            raise OptionError(f"energy: expected more than 0, at most 1, found {self.energy:g}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Try every matrix."""
        needed_judge(context, self.name)
        for name in self.layers:
            if name not in graph.operation_by_name:
                raise UnknownNameError("operation", name, graph.operation_by_name)
        editor = GraphEditor(graph)
        matrices = [
            op for op in graph.operations
            if _is_matrix(editor, op) and (not self.layers or op.name in self.layers)
        ]  # fmt: skip
        trials: Trials | None = None
        for op in matrices:
            start = graph if trials is None else trials.graph
            for method in self.methods:
                candidate = self._factorized(start, op, method)
                if candidate is not None:
                    trials = trials or Trials(graph, context, self.name, self.gain)
                    trials.offer(candidate, (op.name,), f"factorize by {method}")
        return graph if trials is None else trials.graph

    def _factorized(self, graph: Graph, op: Operation, method: Method) -> Graph | None:
        weight = graph.array(op.inputs[1]).astype(np.float64)
        matrix = weight.reshape(len(weight), -1).T if op.kind == "Conv" else weight
        if not matrix.any():
            return None
        if method == "hadamard":
            outputs = matrix.shape[1]
            if outputs < 2 or outputs & (outputs - 1):
                return None
            second = _hadamard(outputs)
            first = matrix @ second.T
        else:
            first, second = self._singular(matrix)
        return _replaced(graph, op, first, second)

    def _singular(self, matrix: Float64) -> tuple[Float64, Float64]:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        # The signs of singular vectors are free: the largest element of each is positive.
        largest = np.abs(left).argmax(axis=0)
        signs = np.where(left[largest, np.arange(left.shape[1])] < 0, -1.0, 1.0)
        shares = np.cumsum(np.square(values)) / np.square(values).sum()
        rank = min(int(np.searchsorted(shares, self.energy * (1 - 1e-12))) + 1, len(values))
        root = np.sqrt(values[:rank])
        return (left * signs)[:, :rank] * root, (right.T * signs).T[:rank] * root[:, None]


def _is_matrix(editor: GraphEditor, op: Operation) -> bool:
    if op.kind not in LAYERS or not has_own_parameters(editor, op):
        return False
    if op.kind != "Conv":
        return True
    weight = editor.parameters[op.inputs[1]]
    is_plain = set(op.ints_attribute("strides", (1,))) == {1} and not any(
        op.ints_attribute("pads", (0,))
    )
    return is_plain and set(weight.shape[2:]) == {1} and op.int_attribute("group", 1) == 1


def _hadamard(size: int) -> Float64:
    """Return the orthogonal Hadamard matrix of a power of two (Sylvester's)."""
    matrix: Float64 = np.full((1, 1), 1.0 / np.sqrt(size))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _replaced(graph: Graph, op: Operation, first: Float64, second: Float64) -> Graph:
    """Return the graph with a layer replaced by two; the second keeps its output and its bias."""
    editor = GraphEditor(graph)
    dtype = editor.parameters[op.inputs[1]].dtype.numpy
    rank = editor.parameters[op.inputs[1]].shape
    taps = (1,) * (len(rank) - 2)

    def shaped(matrix: Float64) -> Float64:
        return matrix.T.reshape(*matrix.T.shape, *taps) if op.kind == "Conv" else matrix

    editor.make_parameter(op.inputs[1], shaped(first).astype(dtype))
    name = editor.add_parameter(f"{op.outputs[0]}.weight", shaped(second).astype(dtype))
    value = editor.values[op.outputs[0]]
    shape = value.shape
    if shape is not None:
        dims = list(shape)
        dims[1 if op.kind == "Conv" else -1] = first.shape[1]
        shape = tuple(dims)
    inner = editor.add_value(f"{value.name}.inner", value.dtype, shape)
    editor.replace(replace(op, inputs=op.inputs[:2], outputs=(inner,)))
    rest = (op.inputs[2],) if has_bias(op) else ()
    made = (inner, name, *rest)
    editor.add_operation(f"{op.name}.outer", op.kind, made, op.outputs, op.attributes, op.sources)
    return editor.finish()
