"""Write out every attribute of convolutions and pools.

Before:
    x: f32[N,3,8,8]; w: f32[4,3,3,3] = random
    y = Conv(x, w) {auto_pad="SAME_UPPER" strides=[2,2]}
    return y
After:
    x: f32[N,3,8,8]; w: f32[4,3,3,3] = random
    y = Conv(x, w) {dilations=[1,1] group=1 kernel_shape=[3,3] pads=[0,0,1,1] strides=[2,2]}
    return y

Preconditions:
    1. ``auto_pad`` SAME needs known spatial sizes.
    2. A ConvTranspose with ``output_shape`` needs known spatial sizes; the padding that reaches it
       becomes explicit.
    3. GlobalAveragePool and GlobalMaxPool have no attributes and stay.
    4. ``ceil_mode`` becomes padding at the end where the spatial sizes are known. It stays where
       padding counts in an average: positions that a partial window sees beyond it do not.

Numerics: bit-exact.
See: the formulas of Conv and ConvTranspose in the ONNX operator reference. onnx's own inference of
shapes with ``ceil_mode`` is wrong before opset 22: it counts windows that start in the padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, Operation
from quantable.ir.operation import Attribute
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import known_shape
from quantable.passes.canonicalize.shapes.windows import Window, window_of

_KINDS = frozenset({"AveragePool", "Conv", "ConvTranspose", "MaxPool"})
_DROPPED = frozenset({"auto_pad", "output_shape"})


@dataclass(frozen=True)
class NormalizeWindows(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "normalize-windows"
    summary: ClassVar[str] = "write out every attribute of convolutions and pools"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite the attributes of each; operations and values stay."""
        changed = []
        for op in graph.operations:
            if op.kind not in _KINDS:
                continue
            attributes = _explicit(graph, op)
            if attributes is None:
                remark = "stays: automatic padding needs known spatial sizes"
                context.remarks.append((self.name, op.where(), remark))
            elif attributes != dict(op.attributes):
                if not context.rewrites.admit(op.name):
                    break
                changed.append(replace(op, attributes=attributes))
        return graph.with_operations(changed) if changed else graph


def _explicit(graph: Graph, op: Operation) -> dict[str, Attribute] | None:
    kernel = op.ints_attribute("kernel_shape")
    if not kernel:
        found = known_shape((graph.values[op.inputs[1]].shape or ())[2:])
        if not found:
            return None
        kernel = found
    window, ceil_mode = window_of(op, kernel), op.int_attribute("ceil_mode")
    transposed = op.kind == "ConvTranspose"
    is_open = window.pads is None or bool(op.ints_attribute("output_shape"))
    pads = _padding(graph, op, window, transposed) if is_open else window.pads
    if pads is None:
        return None
    whole = _whole_windows(graph, op, replace(window, pads=pads)) if ceil_mode else None
    pads, ceil_mode = (pads, ceil_mode) if whole is None else (whole, 0)
    attributes = {n: v for n, v in op.attributes.items() if n not in _DROPPED}
    attributes |= {
        "kernel_shape": kernel, "strides": window.strides, "dilations": window.dilations,
        "pads": pads,
    }  # fmt: skip
    if op.kind in ("Conv", "ConvTranspose"):
        attributes["group"] = op.int_attribute("group", 1)
    else:
        attributes["ceil_mode"] = ceil_mode
    if op.kind == "AveragePool":
        attributes["count_include_pad"] = op.int_attribute("count_include_pad")
    if transposed:
        default = (0,) * len(kernel)
        attributes["output_padding"] = op.ints_attribute("output_padding") or default
    return attributes


def _padding(
    graph: Graph, op: Operation, window: Window, transposed: bool
) -> tuple[int, ...] | None:
    """Return the pads that give the output its size; an odd one goes to the end or the begin."""
    before = known_shape((graph.values[op.inputs[0]].shape or ())[2:])
    after = known_shape((graph.values[op.outputs[0]].shape or ())[2:])
    if not before or not after:
        return None
    extra = op.ints_attribute("output_padding") or (0,) * len(before)
    begins, ends = [], []
    for axis, (size, out) in enumerate(zip(before, after, strict=True)):
        stride, reach = window.strides[axis], window.reach[axis]
        wide, narrow = (size, out) if transposed else (out, size)
        total = (wide - 1) * stride + reach - narrow + extra[axis] * transposed
        if total < 0 and transposed:
            return None  # the output has more than windows reach
        total = max(total, 0)
        small, large = total // 2, total - total // 2
        # Conv puts the odd one at the end for SAME_UPPER; ConvTranspose, by its own formula, at
        # the begin unless SAME_UPPER.
        upper = op.string_attribute("auto_pad") == "SAME_UPPER"
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return (*begins, *ends)


def _whole_windows(graph: Graph, op: Operation, window: Window) -> tuple[int, ...] | None:
    """Return pads with which rounding down gives the windows of ``ceil_mode``, None without."""
    before = known_shape((graph.values[op.inputs[0]].shape or ())[2:])
    after = known_shape((graph.values[op.outputs[0]].shape or ())[2:])
    if not before or not after or window.pads is None:
        return None
    rank = len(before)
    ends = []
    for axis, (size, out) in enumerate(zip(before, after, strict=True)):
        begin, end = window.pads[axis], window.pads[axis + rank]
        stride, reach = window.strides[axis], window.reach[axis]
        ends.append(max(end, (out - 1) * stride + reach - size - begin))
        if (size + begin + ends[-1] - reach) // stride + 1 != out:
            return None
    pads = (*window.pads[:rank], *ends)
    return None if op.int_attribute("count_include_pad") and pads != window.pads else pads
