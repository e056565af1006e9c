"""The lowest opset that can express a graph.

Runtimes lag behind the standard, so a file asks for no more than it needs. The rule: the opset of
a file is the maximum over its operations and its quantizers. An operation's lowest opset is that
of the table below, raised until the schema of that version has its attributes, its number of
inputs and its element types; an operation that the table does not hold needs the version that its
schema has in the graph's own opset. Nothing below 13 is written in another form than at 13
(`quantable.backends.onnx.forms` has the forms between 13 and the newest).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from quantable.backends.onnx.forms import (
    LINEAR,
    as_written,
    is_erf_gelu,
    is_gemm,
    is_padded_whole,
)
from quantable.backends.onnx.protos import kind_and_domain, type_word
from quantable.ir import DType, Graph, Operation, TensorQuantizationConfig, Value

FLOOR = 10
"""QuantizeLinear's first opset; a float graph is not written lower either."""

_SAME_MEANING_SINCE: dict[str, int] = {
    "Abs": 6, "Add": 7, "And": 7, "ArgMax": 12, "ArgMin": 12, "AveragePool": 10,
    "BatchNormalization": 9, "Cast": 9, "Ceil": 6, "Clip": 11, "Concat": 11, "ConstantOfShape": 9,
    "Conv": 1, "ConvTranspose": 1, "CumSum": 11, "DepthToSpace": 11, "DequantizeLinear": 10,
    "Div": 7, "Einsum": 12, "Elu": 6, "Equal": 11, "Erf": 9, "Exp": 6, "Expand": 8, "Flatten": 11,
    "Floor": 6, "Gather": 11, "GatherElements": 11, "Gelu": 20, "Gemm": 7,
    "GlobalAveragePool": 1, "GlobalMaxPool": 1, "Greater": 9, "HardSigmoid": 6, "HardSwish": 14,
    "Identity": 1, "InstanceNormalization": 6, "LayerNormalization": 17, "LeakyRelu": 6,
    "Less": 9, "Log": 6, "LogSoftmax": 13, "MatMul": 9, "Max": 8, "MaxPool": 10, "Mean": 8,
    "Min": 8, "Mish": 18, "Mul": 7, "Neg": 6, "Not": 1, "PRelu": 9, "Pad": 11, "Pow": 7,
    "QuantizeLinear": 10, "Range": 11, "Reciprocal": 6, "ReduceMax": 13, "ReduceMean": 13,
    "ReduceMin": 13, "ReduceProd": 13, "ReduceSum": 13, "Relu": 6, "Reshape": 5, "Resize": 11,
    "Round": 11, "Selu": 6, "Shape": 1, "Sigmoid": 6, "Slice": 11, "Softmax": 13, "Softplus": 1,
    "SpaceToDepth": 1, "Split": 13, "Sqrt": 6, "Squeeze": 13, "Sub": 7, "Sum": 8, "Tanh": 6,
    "Tile": 6, "Transpose": 1, "Unsqueeze": 13, "Where": 9,
}  # fmt: skip
"""First opset whose operation means the same as the canonical one, where only element types or
wording changed since. Softmax before 13 flattens; negative axes came with 11."""

DECOMPOSED_GELU = 9
"""Gelu as Div, Erf, Add, Mul, Mul: Erf's first opset."""

GEMM_WITHOUT_BIAS = 11
"""Before, Gemm has a third input always."""

_STORED_SINCE = {
    DType.INT8: 10, DType.UINT8: 10, DType.INT32: 10, DType.FLOAT8E4M3FN: 19,
    DType.FLOAT8E5M2: 19, DType.FLOAT4E2M1: 23,
}  # fmt: skip
"""First opset whose DequantizeLinear reads a type; others came with 21."""

NATIVE_GELU = 20
AXES_AS_INPUT = 18
"""From here on ReduceMean takes its axes as an operand."""
_OWN_DOMAINS = ("int", "quantable")


def is_narrow(config: TensorQuantizationConfig) -> bool:
    """Whether the range is narrower than the type, to whose bounds QuantizeLinear saturates."""
    storage = config.storage
    return (config.quant_min, config.quant_max) != (storage.minimum, storage.maximum)


def quantizer_opset(config: TensorQuantizationConfig, *, is_parameter: bool) -> int:
    """Return the first opset that has what a slot in force needs.

    Args:
        config: The slot.
        is_parameter: Whether it is written as integers, without QuantizeLinear.
    """
    needs = [10]
    needs.append(_STORED_SINCE.get(config.storage, 21))
    if config.policy.is_per_channel:
        needs.append(13)
    if config.policy.is_per_block:
        needs.append(21)
    if is_narrow(config) and not is_parameter:
        needs.append(_SAME_MEANING_SINCE["Clip"])
    return max(needs)


def is_expressible(kind: str) -> bool:
    """Whether ONNX has an operation of a kind; those of other domains are their runtime's."""
    name, domain = kind_and_domain(kind)
    if kind == LINEAR:
        return True
    return domain not in _OWN_DOMAINS if domain else onnx.defs.has(name)


def lowest_opset(graph: Graph) -> int:
    """Return the lowest opset that expresses the operations and the quantizers of a graph."""
    found = [FLOOR, *(operation_opset(graph, op) for op in graph.operations)]
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            if config.state.is_in_force or config.state.is_baked:
                is_parameter = side == "in" and op.inputs[index] in graph.parameters
                found.append(quantizer_opset(config, is_parameter=is_parameter))
    return max(found)


def operation_opset(graph: Graph, operation: Operation) -> int:
    """Return the lowest opset that expresses one operation."""
    kind, domain = kind_and_domain(operation.kind)
    if kind == "Gelu" and not domain and is_erf_gelu(operation):
        return DECOMPOSED_GELU
    if operation.kind == LINEAR and is_gemm(graph, operation) and not any(operation.inputs[2:]):
        return GEMM_WITHOUT_BIAS
    if domain:
        return FLOOR
    if operation.regions:  # what is inside is in the form of the graph's opset
        return graph.opset
    canonical = onnx.defs.get_schema(kind, graph.opset).since_version
    start = max(FLOOR, _SAME_MEANING_SINCE.get(kind, canonical))
    if is_padded_whole(operation):
        start = max(start, _SAME_MEANING_SINCE["Pad"])
    for opset in range(start, graph.opset):
        if _expresses(graph, as_written(graph, operation, opset), opset):
            return opset
    return graph.opset


def _expresses(graph: Graph, operation: Operation, opset: int) -> bool:
    schema = onnx.defs.get_schema(operation.kind, opset)
    if not set(operation.attributes) <= set(schema.attributes):
        return False
    if not schema.min_input <= len(operation.inputs) <= schema.max_input:
        return False
    needed = zip(schema.inputs, operation.inputs, strict=False)
    if any(not name and formal.option.name == "Single" for formal, name in needed):
        return False
    sides = ((operation.inputs, schema.inputs), (operation.outputs, schema.outputs))
    return all(
        _takes(formals, slot, graph.values[name])
        for names, formals in sides
        for slot, name in enumerate(names)
        if name
    )


def _takes(formals: Sequence[onnx.defs.OpSchema.FormalParameter], slot: int, value: Value) -> bool:
    return type_word(value) in formals[min(slot, len(formals) - 1)].types
