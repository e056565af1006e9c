"""Random models with quantizers, for property tests.

Scales are powers of two and integers few, so that no float32 sum is rounded: results do not depend
on the order in which a runtime adds, and any two that do the same give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

ACTIVATIONS = (TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16,
               TensorProto.UINT4, TensorProto.INT4)  # fmt: skip
WEIGHTS = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4)
ROWS, COLUMNS = 2, 4
_BITS = {TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16, TensorProto.INT16: 16,
         TensorProto.UINT4: 4, TensorProto.INT4: 4}  # fmt: skip
_SIGNED = (TensorProto.INT8, TensorProto.INT16, TensorProto.INT4)


def limits(kind: int) -> tuple[int, int]:
    """Return the smallest and the largest integer of a type."""
    half = 1 << (_BITS[kind] - 1)
    return (-half, half - 1) if kind in _SIGNED else (0, 2 * half - 1)


@dataclass
class _Builder:
    draw: st.DrawFn
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    reals: list[str] = field(default_factory=lambda: ["x"])
    count: int = 0

    def name(self, hint: str) -> str:
        self.count += 1
        return f"{hint}{self.count}"

    def constant(self, kind: int, shape: tuple[int, ...], numbers: list[float]) -> str:
        name = self.name("k")
        self.constants.append(helper.make_tensor(name, kind, shape, numbers))
        return name

    def node(self, kind: str, inputs: list[str], **how: object) -> str:
        name = self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **how))
        return name

    def row(self, kind: int, axis: int | None) -> tuple[list[str], dict[str, int]]:
        """Return names of scale and zero point, and the attributes."""
        count = 1 if axis is None else (ROWS, COLUMNS)[axis]
        low, high = limits(kind)
        powers = self.draw(st.lists(st.integers(-3, 1), min_size=count, max_size=count))
        zeros = self.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
        shape = () if axis is None else (count,)
        scale = self.constant(TensorProto.FLOAT, shape, [2.0**p for p in powers])
        return [scale, self.constant(kind, shape, zeros)], {} if axis is None else {"axis": axis}

    def real(self) -> str:
        return self.draw(st.sampled_from(self.reals))

    def pair(self) -> None:
        """Quantize a tensor; one or two dequantizers read it."""
        kind = self.draw(st.sampled_from(ACTIVATIONS))
        row, how = self.row(kind, self.draw(st.sampled_from((None, None, None, 0, 1))))
        stored = self.node("QuantizeLinear", [self.real(), *row], **how)
        for _ in range(self.draw(st.integers(1, 2))):
            self.reals.append(self.node("DequantizeLinear", [stored, *row], **how))

    def again(self) -> None:
        """Quantize a tensor that a pair made with the row of that pair, perhaps moved."""
        ends = [
            n for n in self.nodes if n.op_type == "DequantizeLinear" and n.output[0] in self.reals
        ]
        if not ends:
            return
        end = self.draw(st.sampled_from(ends))
        source, how = end.output[0], {a.name: a.i for a in end.attribute}
        if self.draw(st.booleans()):
            source = self.node("Identity", [source])
            self.reals.append(source)
        stored = self.node("QuantizeLinear", [source, *end.input[1:]], **how)
        self.reals.append(self.node("DequantizeLinear", [stored, *end.input[1:]], **how))

    def weight(self) -> str:
        kind = self.draw(st.sampled_from(WEIGHTS))
        row, how = self.row(kind, self.draw(st.sampled_from((None, 1))))
        low, high = limits(kind)
        count = COLUMNS * COLUMNS
        numbers = self.draw(
            st.lists(st.integers(max(low, -9), min(high, 9)), min_size=count, max_size=count)
        )
        stored = self.constant(kind, (COLUMNS, COLUMNS), numbers)
        return self.node("DequantizeLinear", [stored, *row], **how)

    def product(self) -> None:
        """Multiply by a dequantized weight, its transpose in one of two ways."""
        weight, form = self.weight(), self.draw(st.sampled_from(("MatMul", "Gemm", "Transpose")))
        if form == "Transpose":
            weight = self.node("Transpose", [weight], perm=[1, 0])
        bounded = self.node("Clip", [self.real(), *self.bounds()])
        how = {"transB": 1} if form == "Gemm" else {}
        made = self.node("Gemm" if how else "MatMul", [bounded, weight], **how)
        self.reals.append(self.node("Clip", [made, *self.bounds()]))

    def bounds(self) -> list[str]:
        return [self.constant(TensorProto.FLOAT, (), [limit]) for limit in (-64.0, 64.0)]

    def moved(self) -> None:
        source = self.real()
        shape = self.constant(TensorProto.INT64, (2,), [COLUMNS, ROWS])
        back = self.constant(TensorProto.INT64, (2,), [ROWS, COLUMNS])
        middle = self.node("Reshape", [source, shape])
        self.reals.append(self.node("Reshape", [middle, back]))

    def elementwise(self) -> None:
        kind = self.draw(st.sampled_from(("Relu", "Neg", "Add", "Sub", "Max")))
        count = 1 if kind in ("Relu", "Neg") else 2
        made = self.node(kind, [self.real() for _ in range(count)])
        self.reals.append(self.node("Clip", [made, *self.bounds()]))


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Draw a model with an input x and one to three outputs, float32 [2, 4] all."""
    builder = _Builder(draw)
    steps = (builder.pair, builder.pair, builder.again, builder.product, builder.moved,
             builder.elementwise, builder.elementwise)  # fmt: skip
    for _ in range(draw(st.integers(2, 9))):
        draw(st.sampled_from(steps))()
    made = builder.reals[1:] or [builder.node("Neg", ["x"])]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, (ROWS, COLUMNS))
        for n in ("x", *outputs)
    ]
    graph = helper.make_graph(builder.nodes, "random", ends[:1], ends[1:], builder.constants)
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def inputs(seed: int) -> dict[str, np.ndarray]:
    """Return an input on a fine grid, beyond the range of most quantizers."""
    rng = np.random.default_rng(seed)
    return {"x": (rng.integers(-4000, 4000, (ROWS, COLUMNS)) / 64).astype(np.float32)}
