"""The explicit integer operations: one table of kinds, operands and attributes.

The arithmetic of each kind is defined in ``docs/integer-operations.md``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IntegerOperation:
    """One row of the table.

    Attributes:
        kind: Name of the operation.
        operands: Names of the input slots; a trailing '?' marks an optional one.
        attributes: Required attributes.
        optional: Attributes that may be absent.
        summary: One line.
    """

    kind: str
    operands: tuple[str, ...]
    attributes: tuple[str, ...]
    optional: tuple[str, ...] = ()
    summary: str = ""


_OUT = ("y_zero_point", "clamp_min", "clamp_max")
_FORM = ("requantization",)
"""Absent: 'float32-multiply'."""
_WINDOW = ("kernel_shape", "strides", "pads", "dilations")

INTEGER_OPERATIONS: dict[str, IntegerOperation] = {
    row.kind: row
    for row in (
        IntegerOperation(
            "int.Quantize", ("x",), ("scale", "zero_point", "clamp_min", "clamp_max"), (),
            "real to integer, at the border of the network",
        ),
        IntegerOperation(
            "int.Dequantize", ("x",), ("scale", "zero_point"), (),
            "integer to real, at the border of the network",
        ),
        IntegerOperation(
            "int.Conv", ("x", "weight", "bias", "multiplier"),
            ("x_zero_point", *_OUT, *_WINDOW, "group"), ("layout", *_FORM),
            "convolution with symmetric weights",
        ),
        IntegerOperation(
            "int.Linear", ("x", "weight", "bias", "multiplier"), ("x_zero_point", *_OUT), _FORM,
            "matrix product with constant symmetric weights",
        ),
        IntegerOperation(
            "int.MatMul", ("a", "b"),
            ("a_zero_point", "b_zero_point", "multiplier", *_OUT), _FORM,
            "batched matrix product of two activations",
        ),
        IntegerOperation(
            "int.Add", ("a", "b"),
            ("a_zero_point", "b_zero_point", "a_multiplier", "b_multiplier", "multiplier", *_OUT),
            _FORM, "weighted sum of two tensors, broadcasting",
        ),
        IntegerOperation(
            "int.Mul", ("a", "b"),
            ("a_zero_point", "b_zero_point", "multiplier", *_OUT), _FORM,
            "product of two tensors, broadcasting",
        ),
        IntegerOperation(
            "int.Requantize", ("x",), ("x_zero_point", "multiplier", *_OUT), _FORM,
            "change of scale, zero point, type or clamp",
        ),
        IntegerOperation(
            "int.Table", ("x", "table"), (), (), "unary function of an 8-bit value"
        ),
        IntegerOperation(
            "int.InterpolatedTable", ("x", "table"), (), (), "unary function of a 16-bit value"
        ),
        IntegerOperation(
            "int.MaxPool", ("x",), _WINDOW, ("layout",), "maximum over a window"
        ),
        IntegerOperation(
            "int.AveragePool", ("x", "multiplier"),
            ("x_zero_point", *_OUT, *_WINDOW, "count_include_pad"), ("layout", *_FORM),
            "mean over a window",
        ),
        IntegerOperation(
            "int.ReduceMean", ("x",),
            ("x_zero_point", "multiplier", "axes", "keepdims", *_OUT), _FORM, "mean over axes",
        ),
        IntegerOperation(
            "int.Softmax", ("x", "high", "low"), ("y_zero_point", "fraction_bits"), (),
            "softmax over the last axis",
        ),
        IntegerOperation(
            "int.LayerNormalization", ("x", "gamma", "beta"),
            ("epsilon", "multiplier", *_OUT), (), "layer normalization over the last axis",
        ),
    )
}  # fmt: skip
"""Every integer operation by kind."""

MOVEMENT_OPERATIONS: tuple[str, ...] = (
    "Concat", "Gather", "Pad", "Reshape", "Slice", "Split", "Transpose",
)  # fmt: skip
"""ONNX operations that only move elements: they keep their kind at the integer level. Pad's
constant is an integer of the tensor's type; Concat's inputs and output have one row."""

WINDOW_OPERATIONS: tuple[str, ...] = ("int.Conv", "int.MaxPool", "int.AveragePool")
"""Operations whose output pixels need a window of input pixels each."""

ELEMENTWISE_OPERATIONS: dict[str, int] = {
    "int.Requantize": 1, "int.Table": 1, "int.InterpolatedTable": 1, "int.Add": 2, "int.Mul": 2,
}  # fmt: skip
"""By kind, how many activations are read (from slot 0 on); element i of the output needs only
element i of those of its shape, so that it may overwrite one of them."""
