"""Make the arithmetic explicit in integer operations.

Before:
    x: f32[1, 3]; y = Relu(x) {in0: u8 scale 0.5 zero point 0; out0: u8 scale 0.25 zero point 10}
After:
    x.quantized = int.Quantize(x) {scale=0.5 zero_point=0 clamp_min=0 clamp_max=255}
    y.quantized = int.Requantize(x.quantized)
        {x_zero_point=0 multiplier=2.0 y_zero_point=10 clamp_min=10 clamp_max=255}
    y = int.Dequantize(y.quantized) {scale=0.25 zero_point=10}

Preconditions:
1. Every operation has a config, every slot of an activation a filled row, and every operation a
   rule in the table below; all that have none are listed in one error.
2. Weights are constant, symmetric, and per tensor or per output channel.
3. No accumulator can leave int32: proven from the actual weights, bias and input range.

An integer value keeps the name of the float value that it stands for; outputs of the network stay
float under their names, their integers are called `<name>.quantized`.

Numerics: within one step of the simulation at each operation (the simulation rounds in float, here
a multiplier carries the scales); equal where the simulation is exact.
See: docs/integer-operations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, Level, Operation, QuantableOperation, UnsupportedError
from quantable.passes.base import Pass, PassContext
from quantable.passes.lower import (
    elementwise,
    linear_algebra,
    movement,
    normalization,
    pooling,
    resizing,
    tables,
    transposed,
)
from quantable.passes.lower.lowering import Lowering
from quantable.passes.lower.mixed import mixed
from quantable.passes.lower.user_operations import user_rule
from quantable.passes.rewrite_limit import Rewrites

Rule = Callable[[QuantableOperation, Lowering], None]

RULES: dict[str, Rule] = {
    "Conv": linear_algebra.lower_conv,
    "ConvTranspose": transposed.lower_conv_transpose,
    "quantable.Linear": linear_algebra.lower_linear,
    "MatMul": linear_algebra.lower_matmul,
    "Add": elementwise.lower_add,
    "Sub": elementwise.lower_sub,
    "Mul": elementwise.lower_mul,
    "Cast": elementwise.lower_cast,
    "Relu": elementwise.lower_clamping,
    "Clip": elementwise.lower_clamping,
    "MaxPool": pooling.lower_max_pool,
    "AveragePool": pooling.lower_average_pool,
    "GlobalAveragePool": pooling.lower_global_average_pool,
    "ReduceMean": pooling.lower_reduce_mean,
    "Softmax": normalization.lower_softmax,
    "LayerNormalization": normalization.lower_layer_normalization,
    "Resize": resizing.lower_resize,
    "Concat": movement.lower_concat,
    "Reshape": movement.lower_movement,
    "Transpose": movement.lower_movement,
    "Slice": movement.lower_movement,
    "Gather": movement.lower_movement,
    "Split": movement.lower_split,
    "Pad": movement.lower_pad,
    "Flatten": movement.lower_reshaping,
    "Squeeze": movement.lower_reshaping,
    "Unsqueeze": movement.lower_reshaping,
    **dict.fromkeys(tables.UNARY_KINDS, tables.lower_unary),
}
"""The rule for every kind that can be lowered."""


@dataclass(frozen=True)
class LowerToInteger(Pass):
    """See the module."""

    name: ClassVar[str] = "lower-to-integer"
    summary: ClassVar[str] = "make the arithmetic explicit in integer operations"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def run(self, graph: Graph, context: PassContext) -> Graph:
        _check_kinds(graph)
        lowering = Lowering(graph, context)
        done: list[str] = []
        errors: list[UnsupportedError] = []
        poisoned: set[str] = set()
        for operation in graph.operations:
            if operation.name in lowering.absorbed:
                continue
            assert isinstance(operation, QuantableOperation)
            if not context.rewrites.admit(operation.name):
                return self._stopped(graph, {*done, *lowering.absorbed}, context)
            done.append(operation.name)
            if poisoned.intersection(operation.inputs):
                poisoned.update(operation.outputs)
                continue
            try:
                rule = rule_of(graph, operation.kind)
                assert rule is not None  # _check_kinds looked
                rule(operation, lowering)
            except UnsupportedError as error:
                errors.append(error)
                poisoned.update(operation.outputs)
        _raise_all(errors)
        return lowering.finish()

    def _stopped(self, graph: Graph, names: set[str], context: PassContext) -> Graph:
        whole = replace(context, rewrites=Rewrites())
        return mixed(graph, names, lambda part: self.run(part, whole))


def rule_of(graph: Graph, kind: str) -> Rule | None:
    """Return the rule for a kind, a user's where the graph's library has it."""
    return RULES.get(kind) or user_rule(graph, kind)


def _check_kinds(graph: Graph) -> None:
    errors = [_missing(graph, op) for op in graph.operations]
    _raise_all([error for error in errors if error is not None])


def _missing(graph: Graph, operation: Operation) -> UnsupportedError | None:
    if not isinstance(operation, QuantableOperation):
        return UnsupportedError(
            "stays in float, which an integer-only target cannot do", where=operation.where(),
            help="choose a target that keeps operations in float, for instance 'onnxruntime'",
        )  # fmt: skip
    if rule_of(graph, operation.kind) is None:
        return UnsupportedError(
            "has no integer form", where=operation.where(),
            help="'quantable list operations' shows what can be lowered",
        )  # fmt: skip
    return None


def _raise_all(errors: list[UnsupportedError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = "\n".join(f"  {str(error).splitlines()[0]}" for error in errors)
        raise UnsupportedError(
            f"{len(errors)} operations cannot be lowered to integers:\n{lines}",
            help="choose another target, or change these operations in the model",
        )
