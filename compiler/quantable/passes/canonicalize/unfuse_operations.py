"""Write operations that ONNX Runtime's optimizer made of several as those of the standard again.

Before:
    x: f32[N,4]; b: f32[4] = [1, 2, 3, 4]
    y = com.microsoft.BiasGelu(x, b)
    return y
After:
    x: f32[N,4]; b: f32[4] = [1, 2, 3, 4]
    y.sum = Add(x, b)
    y = Gelu(y.sum)
    return y

Targets have rules for operations of the standard, and merge them in their own way.

Preconditions:
    1. The operation is FusedConv, FusedGemm, FusedMatMul or TransposeMatMul without turned batches,
       one of the Gelus, SkipLayerNormalization, Attention or MultiHeadAttention.
    2. Of a SkipLayerNormalization nobody reads the mean and the inverse deviation.
    3. An attention has no mask, no cache, no causality and no packed operands; the sizes of its
       heads are known. `GroupQueryAttention` and what is left stay as they are.

Numerics: real-equal; bit-exact where no sum is taken in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Attribute, Graph, GraphEditor, Operation, Shape
from quantable.ir.graph import Dim
from quantable.passes.base import Pass, PassContext

_DOMAIN = "com.microsoft."
_PARAMETERS = {"Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",)}


@dataclass(frozen=True)
class UnfuseOperations(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "unfuse-operations"
    summary: ClassVar[str] = "write operations of ONNX Runtime's optimizer as those of the standard"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite each operation where it stands."""
        editor = GraphEditor(graph)
        changes = 0
        foreign = [op for op in graph.operations if op.kind.startswith(_DOMAIN)]
        for op in context.rewrites.over(editor, foreign):
            rewrite = _REWRITES.get(op.kind.removeprefix(_DOMAIN))
            changed = rewrite is not None and rewrite(_Site(editor, op))
            changes += changed
            if rewrite is not None and not changed:
                remark = "stays: it has a form that the standard's operations do not say"
                context.remarks.append((self.name, op.where(), remark))
        return editor.finish() if changes else graph


@dataclass(frozen=True, slots=True)
class _Site:
    """An operation that is being rewritten."""

    editor: GraphEditor
    operation: Operation

    def has(self, slot: int) -> bool:
        return slot < len(self.operation.inputs) and bool(self.operation.inputs[slot])

    def shape(self, value: str) -> Shape | None:
        return self.editor.values[value].shape

    def add(
        self, hint: str, kind: str, inputs: Iterable[str], shape: Shape | None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> str:  # fmt: skip
        """Add an operation before this one; return what it makes."""
        y = self.operation.outputs[0]
        made = self.editor.add_value(f"{y}.{hint}", self.editor.values[y].dtype, shape)
        self.editor.add_operation(made, kind, inputs, (made,), attributes, self.operation.sources)
        return made

    def number(self, hint: str, value: float) -> str:
        """Add a scalar parameter of the output's type."""
        y = self.operation.outputs[0]
        dtype = self.editor.values[y].dtype
        return self.editor.add_parameter(f"{y}.{hint}", np.asarray(value, dtype.numpy), dtype)

    def integers(self, hint: str, values: Iterable[int]) -> str:
        """Add a parameter of integers."""
        y = self.operation.outputs[0]
        return self.editor.add_parameter(f"{y}.{hint}", np.array(tuple(values), np.int64))

    def end(
        self, kind: str, inputs: Iterable[str], attributes: Mapping[str, Attribute] | None = None
    ) -> bool:
        """Put the operation that makes the first output in the place of this one."""
        op = self.operation
        self.editor.replace(replace(
            op, kind=kind, inputs=tuple(inputs), outputs=op.outputs[:1],
            attributes=dict(attributes or {}),
        ))  # fmt: skip
        return True

    def is_read(self, output: int) -> bool:
        """Whether anything reads an output."""
        names = self.operation.outputs[output : output + 1]
        return any(n and (n in self.editor.outputs or self.editor.uses(n)) for n in names)


def _gelu(site: _Site, approximate: str = "none") -> bool:
    x = site.operation.inputs[0]
    if site.has(1):
        x = site.add("sum", "Add", site.operation.inputs, site.shape(site.operation.outputs[0]))
    return site.end("Gelu", (x,), {} if approximate == "none" else {"approximate": approximate})


def _quick_gelu(site: _Site) -> bool:
    x, shape = site.operation.inputs[0], site.shape(site.operation.outputs[0])
    alpha = site.number("alpha", site.operation.float_attribute("alpha", 1.702))
    scaled = site.add("scaled", "Mul", (x, alpha), shape)
    return site.end("Mul", (x, site.add("gate", "Sigmoid", (scaled,), shape)))


def _activated(
    site: _Site, kind: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute],
    activation: tuple[str, Mapping[str, float]],
) -> bool:  # fmt: skip
    """End with an operation and an activation behind it."""
    name, parameters = activation
    if not name:
        return site.end(kind, inputs, attributes)
    made = site.add("sum", kind, inputs, site.shape(site.operation.outputs[0]), attributes)
    if name != "Clip":
        return site.end(name, (made,), parameters)
    bounds = tuple(site.number(key, value) for key, value in parameters.items())
    return site.end(name, (made, *bounds))


def _convolution(site: _Site) -> bool:
    op = site.operation
    name = op.string_attribute("activation")
    given = op.attributes.get("activation_params", ())
    keys = _PARAMETERS.get(name, ())
    values = [float(v) for v in given] if isinstance(given, tuple) else []
    if len(values) != len(keys):
        return False
    activation = name, dict(zip(keys, values, strict=True))
    kept = {k: v for k, v in op.attributes.items() if not k.startswith("activation")}
    inputs = op.inputs[:3]
    if not site.has(3):
        return _activated(site, "Conv", inputs, kept, activation)
    while not inputs[-1]:
        inputs = inputs[:-1]
    product = site.add("product", "Conv", inputs, site.shape(op.outputs[0]), kept)
    return _activated(site, "Add", (product, op.inputs[3]), {}, activation)


def _gemm(site: _Site) -> bool:
    op, prefix = site.operation, "activation_"
    kept = {k: v for k, v in op.attributes.items() if not k.startswith("activation")}
    parameters = {
        k.removeprefix(prefix): op.float_attribute(k) for k in op.attributes if k.startswith(prefix)
    }
    activation = op.string_attribute("activation"), parameters
    return activation[0] != "Clip" and _activated(site, "Gemm", op.inputs, kept, activation)


def _matmul(site: _Site) -> bool:
    op = site.operation
    shapes = [site.shape(name) for name in op.inputs]
    if op.int_attribute("transBatchA") or op.int_attribute("transBatchB") or None in shapes:
        return False
    operands = []
    for slot, (name, shape) in enumerate(zip(op.inputs, shapes, strict=True)):
        turned = op.int_attribute("transA" if slot == 0 else "transB")
        rank = len(shape or ())
        if turned and rank > 1 and shape is not None:
            order = (*range(rank - 2), rank - 1, rank - 2)
            sizes = tuple(shape[axis] for axis in order)
            name = site.add(f"operand{slot}", "Transpose", (name,), sizes, {"perm": order})
        operands.append(name)
    alpha = op.float_attribute("alpha", 1.0)
    if alpha == 1.0:
        return site.end("MatMul", operands)
    product = site.add("product", "MatMul", operands, site.shape(op.outputs[0]))
    return site.end("Mul", (product, site.number("alpha", alpha)))


def _skip_normalization(site: _Site) -> bool:
    op = site.operation
    if site.is_read(1) or site.is_read(2):
        return False
    shape = site.shape(op.outputs[0])
    x, skip, gamma = op.inputs[:3]
    total = site.add("sum", "Add", (x, skip), shape)
    if site.has(4):
        total = site.add("biased", "Add", (total, op.inputs[4]), shape)
    epsilon = op.float_attribute("epsilon", 1e-12)
    beta = op.inputs[3:4] if site.has(3) else ()
    is_sum_read, read = site.is_read(3), op.outputs[3:4]
    site.end("LayerNormalization", (total, gamma, *beta), {"axis": -1, "epsilon": epsilon})
    if is_sum_read and read[0] in site.editor.outputs:
        site.editor.add_operation(read[0], "Identity", (total,), read, {}, op.sources)
    elif is_sum_read:
        site.editor.replace_uses(read[0], total)
    return True


def _attention(site: _Site) -> bool:
    """Precondition 3: the products that make queries, keys and values are inside."""
    op = site.operation
    shape, weights = site.shape(op.inputs[0]), site.shape(op.inputs[1])
    refused = ("unidirectional", "do_rotary", "past_present_share_buffer")
    if any(site.has(slot) for slot in (3, 4, 6)) or site.is_read(1) or shape is None:
        return False
    if any(op.int_attribute(name) for name in refused) or not weights or len(shape) != 3:
        return False
    whole, sizes = weights[1], op.ints_attribute("qkv_hidden_sizes")
    if not isinstance(whole, int):
        return False
    sizes = sizes or (whole // 3,) * 3
    flat: Shape = (*shape[:2], whole)
    made = site.add("product", "MatMul", op.inputs[:2], flat)
    if site.has(2):
        made = site.add("projected", "Add", (made, op.inputs[2]), flat)
    lengths = site.integers("lengths", sizes)
    dtype = site.editor.values[made].dtype
    parts = [
        site.editor.add_value(f"{op.outputs[0]}.{hint}", dtype, (*shape[:2], size))
        for hint, size in zip(("query", "key", "value"), sizes, strict=True)
    ]
    site.editor.add_operation(
        f"{op.outputs[0]}.parts", "Split", (made, lengths), parts, {"axis": -1}, op.sources
    )
    return _attend(site, (parts[0], parts[1], parts[2]), op.inputs[5] if site.has(5) else "")


def _multi_head(site: _Site) -> bool:
    op = site.operation
    if any(site.has(slot) for slot in (3, 4, 6, 7, 8, 9)) or not (site.has(1) and site.has(2)):
        return False
    if op.int_attribute("unidirectional") or any(site.is_read(k) for k in (1, 2, 3)):
        return False
    shapes = [site.shape(name) for name in op.inputs[:3]]
    if not all(s is not None and len(s) == 3 and isinstance(s[2], int) for s in shapes):
        return False
    return _attend(
        site, (op.inputs[0], op.inputs[1], op.inputs[2]), op.inputs[5] if site.has(5) else ""
    )


def _attend(site: _Site, operands: tuple[str, str, str], bias: str) -> bool:
    """Softmax(q k^T * scale + bias) v, of values [B, length, heads * size]."""
    op = site.operation
    heads = op.int_attribute("num_heads")
    q, size = _in_heads(site, operands[0], heads, (0, 2, 1, 3))
    k, _ = _in_heads(site, operands[1], heads, (0, 2, 3, 1))
    v, width = _in_heads(site, operands[2], heads, (0, 2, 1, 3))
    (batch, rows, _), columns = _sizes(site, operands[0]), _sizes(site, operands[1])[1]
    square: Shape = (batch, heads, rows, columns)
    scale = op.float_attribute("scale") or 1 / math.sqrt(size)
    scores = site.add("products", "MatMul", (q, k), square)
    scores = site.add("scores", "Mul", (scores, site.number("scale", scale)), square)
    if bias:
        scores = site.add("biased", "Add", (scores, bias), square)
    shares = site.add("shares", "Softmax", (scores,), square, {"axis": -1})
    mixed = site.add("mixed", "MatMul", (shares, v), (batch, heads, rows, width))
    order = (0, 2, 1, 3)
    turned: Shape = (batch, rows, heads, width)
    joined = site.add("joined", "Transpose", (mixed,), turned, {"perm": order})
    return site.end("Reshape", (joined, site.integers("flat", (0, 0, heads * width))))


def _in_heads(
    site: _Site, value: str, heads: int, order: tuple[int, int, int, int]
) -> tuple[str, int]:
    """Return a value [B, length, heads * size] in heads, its axes in an order, and the size."""
    batch, length, whole = _sizes(site, value)
    size = int(whole) // heads
    hint = value.rpartition(".")[2]
    split: Shape = (batch, length, heads, size)
    target = site.integers(f"{hint}.heads", (0, 0, heads, size))
    parts = site.add(f"{hint}.parts", "Reshape", (value, target), split)
    turned = tuple(split[axis] for axis in order)
    return site.add(f"{hint}.turned", "Transpose", (parts,), turned, {"perm": order}), size


def _sizes(site: _Site, value: str) -> tuple[Dim, Dim, Dim]:
    batch, length, whole = site.shape(value) or ("", "", 0)
    return batch, length, whole


_REWRITES: Mapping[str, Callable[[_Site], bool]] = {
    "Attention": _attention,
    "BiasGelu": _gelu,
    "FastGelu": lambda site: _gelu(site, "tanh"),
    "FusedConv": _convolution,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _gelu,
    "MultiHeadAttention": _multi_head,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_normalization,
    "TransposeMatMul": _matmul,
}
"""By kind, what rewrites an operation; it returns whether it could."""
