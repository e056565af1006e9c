"""Integer operations as calls of CMSIS-NN: one function a kind, collected in a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantable.bench.cmsis_nn.scales import q31, q31_arrays, signed_offset, with_one_scale
from quantable.ir import DType, Graph, Operation, UnsupportedError

_SUCCESS = "ARM_CMSIS_NN_SUCCESS"
_CONTEXT = "  const cmsis_nn_context ctx = {scratch, sizeof scratch};"
_WORD = 256
"""A tensor of 16 bits becomes one of bytes with steps as much larger."""


@dataclass
class Network:
    """The calls that make up a network.

    Attributes:
        graph: Ours, at the planned level.
        weights: C definitions of constants.
        lines: One call a step.
        tensors: Bytes of every value that a call writes.
        names: C expressions that point to values.
        rows: What a value's own step size and zero point are, where CMSIS-NN has them differ from
            ours: (our step is so many of its steps, its zero point).
    """

    graph: Graph
    weights: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    tensors: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    rows: dict[str, tuple[float, int]] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self.graph.values[name].shape
        assert shape is not None
        return tuple(int(dim) for dim in shape if isinstance(dim, int))

    def input(self, op: Operation, attribute: str, slot: int = 0) -> tuple[float, int]:
        """Return (step, zero point) of an input: its step in ours, and the zero as a byte."""
        name = op.inputs[slot]
        zero = op.int_attribute(attribute) - signed_offset(self.graph.values[name].dtype.numpy)
        return self.rows.get(name, (1.0, zero))

    def output(self, op: Operation) -> tuple[float, int, int, int]:
        """Name the output; return (factor of multipliers, zero point, clamp) as bytes."""
        name = op.outputs[0]
        dtype = self.graph.values[name].dtype
        zero, low, high = (
            op.int_attribute(key) for key in ("y_zero_point", "clamp_min", "clamp_max")
        )
        self.allocate(name)
        if dtype in (DType.UINT8, DType.INT8):
            offset = signed_offset(dtype.numpy)
            return 1.0, zero - offset, low - offset, high - offset
        if dtype is not DType.INT16:
            raise UnsupportedError(f"expected bytes or i16, found {dtype.value}", where=op.where())
        self.rows[name] = (float(_WORD), round(zero / _WORD))
        return 1 / _WORD, round(zero / _WORD), -128, 127

    def allocate(self, name: str) -> None:
        self.names[name] = f"t{len(self.tensors)}"
        self.tensors[name] = int(np.prod(self.shape(name), dtype=np.int64))

    def constant(self, role: str, array: npt.NDArray[np.generic], ctype: str) -> str:
        symbol = f"{role}{len(self.lines)}"
        text = ", ".join(str(v) for v in array.reshape(-1).tolist())
        self.weights.append(f"const {ctype} {symbol}[{array.size}] = {{{text}}};")
        return symbol

    def call(self, facts: list[str], call: str, scratch: str = "0") -> None:
        """Add a step.

        Args:
            facts: Declarations.
            call: Returns CMSIS-NN's status; takes scratch from ``ctx``.
            scratch: A C expression for the bytes of scratch that it needs.
        """
        number = len(self.lines) + 1
        told = "\n".join(f"  {fact}" for fact in facts)
        self.lines.append(
            f"static int step_{number}(void) {{\n{told}\n{_CONTEXT}\n"
            f"  return {call} != {_SUCCESS};\n}}\n"
            f"static int32_t scratch_{number}(void) {{\n{told}\n  return {scratch};\n}}"
        )


def _dims(name: str, n: int, h: int, w: int, c: int) -> str:
    return f"static const cmsis_nn_dims {name} = {{{n}, {h}, {w}, {c}}};"


def _plane(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return NHWC of one or two spatial dimensions."""
    if len(shape) == 3:
        return shape[0], 1, shape[1], shape[2]
    n, h, w, c = shape
    return n, h, w, c


def _tiles(op: Operation) -> tuple[str, ...]:
    """Return stride, padding and dilation as initializers of tiles, width first."""
    rank = len(op.ints_attribute("kernel_shape"))
    found = []
    for key, other in (("strides", 1), ("pads", 0), ("dilations", 1)):
        values = [other] * (2 - rank) + list(op.ints_attribute(key)[:rank])
        found.append(f"{{{values[1]}, {values[0]}}}")
    return tuple(found)


def _kernel(op: Operation) -> tuple[int, int]:
    kernel = op.ints_attribute("kernel_shape")
    return (1, kernel[0]) if len(kernel) == 1 else (kernel[0], kernel[1])


def _channels_last(op: Operation) -> None:
    if op.string_attribute("layout", "NCHW") != "NHWC":
        raise UnsupportedError("expected channels last", where=op.where())


def convolve(net: Network, op: Operation) -> None:
    """int.Conv: arm_convolve_wrapper_s8, or arm_depthwise_conv_wrapper_s8."""
    _channels_last(op)
    x, y = _plane(net.shape(op.inputs[0])), _plane(net.shape(op.outputs[0]))
    step, zero = net.input(op, "x_zero_point")
    factor, out_zero, low, high = net.output(op)
    weight = net.graph.array(op.inputs[1]).astype(np.int64)
    rows, columns = _kernel(op)
    weight = weight.reshape(weight.shape[0], -1, rows, columns)
    group = op.int_attribute("group")
    is_depthwise = group == x[3] == y[3] > 1
    if group != 1 and not is_depthwise:
        raise UnsupportedError("expected one group, or depthwise", where=op.where())
    order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    filters = (1, rows, columns, y[3]) if is_depthwise else (y[3], rows, columns, x[3])
    multipliers = net.graph.array(op.inputs[3]).astype(np.float64) * factor * step
    mantissa, shift = q31_arrays(np.broadcast_to(multipliers, (y[3],)))
    stride, padding, dilation = _tiles(op)
    kind = "depthwise_conv" if is_depthwise else "convolve"
    params = "cmsis_nn_dw_conv_params" if is_depthwise else "cmsis_nn_conv_params"
    facts = [
        _dims("in", *x), _dims("filter", *filters), _dims("bias", 1, 1, 1, y[3]),
        _dims("out", *y),
        f"static const {params} p = {{.input_offset = {-zero}, .output_offset = {out_zero}, "
        f"{'.ch_mult = 1, ' if is_depthwise else ''}.stride = {stride}, .padding = {padding}, "
        f".dilation = {dilation}, .activation = {{{low}, {high}}}}};",
        f"const cmsis_nn_per_channel_quant_params q = {{(int32_t *)(uintptr_t)"
        f"{net.constant('multiplier', mantissa, 'int32_t')}, (int32_t *)(uintptr_t)"
        f"{net.constant('shift', shift, 'int32_t')}}};",
    ]  # fmt: skip
    weights = net.constant("weight", weight.transpose(order), "int8_t")
    bias = net.constant("bias", net.graph.array(op.inputs[2]), "int32_t")
    net.call(facts, f"arm_{kind}_wrapper_s8(&ctx, &p, &q, &in, {net.names[op.inputs[0]]}, &filter, "
             f"{weights}, &bias, {bias}, &out, {net.names[op.outputs[0]]})",
             f"arm_{kind}_wrapper_s8_get_buffer_size(&p, &in, &filter, &out)")  # fmt: skip


def fully_connected(net: Network, op: Operation) -> None:
    """int.Linear: arm_fully_connected_s8, which knows one scale for all outputs."""
    x = net.shape(op.inputs[0])
    step, zero = net.input(op, "x_zero_point")
    factor, out_zero, low, high = net.output(op)
    weight = net.graph.array(op.inputs[1]).astype(np.int64).T
    channels, inner = weight.shape
    multipliers = np.broadcast_to(net.graph.array(op.inputs[3]).astype(np.float32), (channels,))
    bias = net.graph.array(op.inputs[2]).astype(np.int64)
    weight, bias, multiplier = with_one_scale(weight, bias, multipliers)
    mantissa, shift = q31(multiplier * factor * step)
    rows = int(np.prod(x[:-1]))
    facts = [
        _dims("in", rows, 1, 1, inner), _dims("filter", inner, 1, 1, channels),
        _dims("bias", 1, 1, 1, channels), _dims("out", rows, 1, 1, channels),
        f"static const cmsis_nn_fc_params p = {{.input_offset = {-zero}, "
        f".output_offset = {out_zero}, .activation = {{{low}, {high}}}}};",
        f"static const cmsis_nn_per_tensor_quant_params q = {{{mantissa}, {shift}}};",
    ]  # fmt: skip
    weights = net.constant("weight", weight, "int8_t")
    biases = net.constant("bias", bias, "int32_t")
    net.call(facts, f"arm_fully_connected_s8(&ctx, &p, &q, &in, {net.names[op.inputs[0]]}, "
             f"&filter, {weights}, &bias, {biases}, &out, {net.names[op.outputs[0]]})",
             "arm_fully_connected_s8_get_buffer_size(&filter)")  # fmt: skip


def average_pool(net: Network, op: Operation) -> None:
    """int.AveragePool: arm_avgpool_s8, whose output has the row of its input."""
    _channels_last(op)
    x, y = _plane(net.shape(op.inputs[0])), _plane(net.shape(op.outputs[0]))
    step, zero = net.input(op, "x_zero_point")
    net.output(op)
    rows, columns = _kernel(op)
    ours = float(net.graph.array(op.inputs[1]).reshape(-1)[-1]) * rows * columns
    net.rows[op.outputs[0]] = (step * ours, zero)
    stride, padding, _ = _tiles(op)
    facts = [
        _dims("in", *x), _dims("filter", 1, rows, columns, 1), _dims("out", *y),
        f"static const cmsis_nn_pool_params p = {{{stride}, {padding}, {{-128, 127}}}};",
    ]  # fmt: skip
    net.call(facts, f"arm_avgpool_s8(&ctx, &p, &in, {net.names[op.inputs[0]]}, &filter, &out, "
             f"{net.names[op.outputs[0]]})",
             f"arm_avgpool_s8_get_buffer_size({y[2]}, {x[3]})")  # fmt: skip


def add(net: Network, op: Operation) -> None:
    """int.Add: arm_elementwise_add_s8, with TensorFlow Lite's shift of 20 bits."""
    left = 20
    names = list(op.inputs[:2])
    if net.shape(names[0]) != net.shape(names[1]):
        raise UnsupportedError("expected operands of one shape", where=op.where())
    factor, out_zero, low, high = net.output(op)
    sides = [net.input(op, f"{side}_zero_point", slot) for slot, side in enumerate("ab")]
    real = [op.int_attribute(f"{side}_multiplier") * sides[i][0] for i, side in enumerate("ab")]
    if min(real) <= 0:
        raise UnsupportedError("expected a sum, found a difference", where=op.where())
    twice = 2 * max(real)
    first, second = (q31(value / twice) for value in real)
    last = q31(op.float_attribute("multiplier") * factor * twice / 2**left)
    numbers = [-sides[0][1], *first, -sides[1][1], *second, left]
    pointers = [net.names[name] for name in (*names, op.outputs[0])]
    size = net.tensors[op.outputs[0]]
    net.call([], f"arm_elementwise_add_s8({pointers[0]}, {pointers[1]}, "
             f"{', '.join(map(str, numbers))}, {pointers[2]}, {out_zero}, {last[0]}, {last[1]}, "
             f"{low}, {high}, {size})")  # fmt: skip


def reshape(net: Network, op: Operation) -> None:
    """Reshape: the same bytes."""
    net.names[op.outputs[0]] = net.names[op.inputs[0]]
    if op.inputs[0] in net.rows:
        net.rows[op.outputs[0]] = net.rows[op.inputs[0]]


LAYERS: dict[str, Callable[[Network, Operation], None]] = {
    "int.Conv": convolve,
    "int.Linear": fully_connected,
    "int.AveragePool": average_pool,
    "int.Add": add,
    "Reshape": reshape,
}
"""By kind."""
