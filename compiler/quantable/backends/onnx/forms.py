"""Operations in the form that an opset has for them.

The IR's canonical form is that of opset 21. Where an older opset says the same in another way, and
the operation's operands are constant, it is written that way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx
from quantable.ir import Attribute, Graph, Operation

LINEAR = "quantable.Linear"
Form = Callable[[Graph, Operation], Operation]


def is_gemm(graph: Graph, operation: Operation) -> bool:
    """Whether a Linear is written as Gemm: its input is a matrix. Otherwise MatMul and Add."""
    shape = graph.values[operation.inputs[0]].shape
    return shape is not None and len(shape) == 2


def is_padded_whole(operation: Operation) -> bool:
    """Whether windows of a MaxPool may lie in the padding alone, which ONNX Runtime refuses."""
    pads, kernel = operation.ints_attribute("pads"), operation.ints_attribute("kernel_shape")
    return (
        operation.kind == "MaxPool"
        and len(operation.outputs) == 1
        and any(pad >= size for pad, size in zip(pads, kernel * 2, strict=False))
    )


def is_erf_gelu(operation: Operation) -> bool:
    """Whether a Gelu is the exact one, not the approximation by tanh."""
    return operation.attributes.get("approximate", "none") == "none"


def as_written(graph: Graph, operation: Operation, opset: int) -> Operation:
    """Return an operation in the form of an opset; as it is where it has no other."""
    row = _FORMS.get(operation.kind)
    if row is not None and opset < row[0]:
        operation = row[1](graph, operation)
    if operation.kind == "AveragePool":
        operation = _without_dilations(operation)
    return _without_new_defaults(operation, opset, graph.opset)


def _without_dilations(operation: Operation) -> Operation:
    """Leave out dilations of one: ONNX Runtime's quantized AveragePool refuses the attribute."""
    dilations = operation.attributes.get("dilations")
    if not isinstance(dilations, tuple) or any(item != 1 for item in dilations):
        return operation
    kept = {name: value for name, value in operation.attributes.items() if name != "dilations"}
    return replace(operation, attributes=kept)


def _without_new_defaults(operation: Operation, opset: int, canonical: int) -> Operation:
    """Leave out attributes that an opset does not have yet, where they say what it does anyway."""
    if not onnx.defs.has(operation.kind, opset):
        return operation
    old = onnx.defs.get_schema(operation.kind, opset).attributes
    new = onnx.defs.get_schema(operation.kind, canonical).attributes
    kept = {
        name: value
        for name, value in operation.attributes.items()
        if name in old or name not in new or not _is_default(value, new[name])
    }
    return (
        operation if len(kept) == len(operation.attributes) else replace(operation, attributes=kept)
    )


def _is_default(value: Attribute, attribute: onnx.defs.OpSchema.Attribute) -> bool:
    if attribute.name == "dilations":  # the default is in the schema's prose: all ones
        return isinstance(value, tuple) and all(item == 1 for item in value)
    if attribute.default_value.type == onnx.AttributeProto.UNDEFINED:
        return False
    default = onnx.helper.get_attribute_value(attribute.default_value)
    return value == (default.decode() if isinstance(default, bytes) else default)


def _axes_as_attribute(graph: Graph, operation: Operation) -> Operation:
    """Axes of a reduction are an attribute before opset 18."""
    if len(operation.inputs) < 2 or operation.inputs[1] not in graph.parameters:
        return operation
    axes = tuple(int(axis) for axis in graph.array(operation.inputs[1]))
    if not axes:
        return operation
    attributes = {k: v for k, v in operation.attributes.items() if k != "noop_with_empty_axes"}
    return replace(operation, inputs=operation.inputs[:1], attributes={**attributes, "axes": axes})


def _equal_split(graph: Graph, operation: Operation) -> Operation:
    """Before opset 18 Split without sizes means equal parts; ``num_outputs`` came then."""
    shape = graph.values[operation.inputs[0]].shape
    if "num_outputs" not in operation.attributes or shape is None:
        return operation
    extent = shape[operation.int_attribute("axis")]
    if isinstance(extent, str) or extent % len(operation.outputs):
        return operation
    attributes = {k: v for k, v in operation.attributes.items() if k != "num_outputs"}
    return replace(operation, attributes=attributes)


_FORMS: dict[str, tuple[int, Form]] = {
    **dict.fromkeys(
        ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"), (18, _axes_as_attribute)
    ),
    "Split": (18, _equal_split),
}
"""By kind: the first opset that has the canonical form, and the older one."""
