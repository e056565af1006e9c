"""A layer as a matrix: one row of weights an output, in the groups of a convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import along, dequantize, quantize, rounded
from quantable.ir.profile import INPUT_CHANNEL_AXIS

Reals = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]
Array = npt.NDArray[np.generic]
_WEIGHT, _BIAS = 1, 2
_DERIVED = (State.PASSIVE, State.PASSIVE_BAKED)


@dataclass(frozen=True, eq=False)
class Layer:
    """What a pass may change of one layer, and what it was in the float network.

    Matrices are [groups, outputs / group, k]: k weights, input channels of the group and then
    taps, make one output.

    Attributes:
        op: The operation.
        weights: Contents of its weight, as the graph holds them.
        row: Row of its weight.
        bias: Contents of its bias as a matrix [groups, outputs / group]; zeros where there is none.
        has_own_bias: Whether it may be changed.
        original, original_bias: Of the float network, as matrices.
        least_scale: Scales below it let a bias overflow; [] or [scales].
    """

    op: QuantableOperation
    weights: Weights
    row: QuantizationParameters
    bias: Reals
    has_own_bias: bool
    original: Reals
    original_bias: Reals
    least_scale: Reals

    @staticmethod
    def of(graph: Graph, op: QuantableOperation) -> Layer:
        """Return the layer that an operation is, for which `reason` found nothing."""
        weights = graph.array(op.inputs[_WEIGHT]).astype(np.float32, copy=False)
        original = matrix(op, _original(graph, op, _WEIGHT))
        bias = original_bias = np.zeros(original.shape[:2])
        if _has(op, _BIAS):
            bias = graph.array(op.inputs[_BIAS]).astype(np.float64).reshape(bias.shape)
            original_bias = _original(graph, op, _BIAS).astype(np.float64).reshape(bias.shape)
        row = graph.rows[op.config.inputs[_WEIGHT].row]
        return Layer(
            op, weights, row, bias, _has_own_bias(graph, op), original, original_bias,
            _least_scale(graph, op, row, bias),
        )  # fmt: skip

    @property
    def config(self) -> TensorQuantizationConfig:
        """The config of the weight's slot."""
        return self.op.config.inputs[_WEIGHT]

    @property
    def hardened(self) -> Reals:
        """The weights that the target computes with, as a matrix."""
        return matrix(self.op, rounded(self.weights, self.config, self.row))

    @property
    def steps(self) -> Reals:
        """How many steps each weight is from zero, as a matrix of whole numbers."""
        found = quantize(self.weights, self.config, self.row)
        zero = self._broadcast(self.row.zero_point_array)
        return matrix(self.op, found.astype(np.float64) - zero)

    @property
    def bounds(self) -> tuple[Reals, Reals]:
        """The least and largest steps, as matrices."""
        zero = matrix(self.op, self._broadcast(self.row.zero_point_array))
        return self.config.quant_min - zero, self.config.quant_max - zero

    @property
    def scale(self) -> Reals:
        """The scale of every weight, as a matrix."""
        return matrix(self.op, self._broadcast(self.row.scale_array))

    @property
    def scale_numbers(self) -> npt.NDArray[np.int64]:
        """The number of the scale of each output, [groups, outputs / group]."""
        numbers = self._broadcast(np.arange(self.row.scale_array.size))
        return matrix(self.op, numbers)[:, :, 0].astype(np.int64)

    def with_row(self, row: QuantizationParameters) -> Layer:
        """Return the layer with other scales; contents stay, so that integers may change."""
        return replace(self, row=row)

    def with_steps(self, steps: Reals) -> Layer:
        """Return the layer with contents that are whole steps from zero, exactly on the grid."""
        zero = self._broadcast(self.row.zero_point_array)
        integers = (unmatrix(self.op, steps, self.weights.shape) + zero).astype(np.int64)
        return replace(self, weights=dequantize(integers, self.config, self.row))

    def with_bias(self, bias: Reals) -> Layer:
        """Return the layer with another bias, rounded to float32."""
        return replace(self, bias=bias.astype(np.float32).astype(np.float64))

    def put_into(self, graph: Graph) -> Graph:
        """Return the graph with what the layer is now."""
        name = self.op.inputs[_WEIGHT]
        held = {name: graph.store.put(self.weights.astype(graph.array(name).dtype))}
        if self.has_own_bias:
            name = self.op.inputs[_BIAS]
            old = graph.array(name)
            held[name] = graph.store.put(self.bias.reshape(old.shape).astype(old.dtype))
        changed = graph.with_rows([self.row])
        return replace(changed, parameters={**graph.parameters, **held})

    def _broadcast(self, row: Array) -> Reals:
        """Return what belongs to each scale, as often as weights have it; exact."""
        wide: Reals = row.astype(np.float64)
        if self.config.channel_axis is None:
            return np.broadcast_to(wide.reshape(()), self.weights.shape)
        return np.broadcast_to(along(wide, self.weights.shape, self.config), self.weights.shape)


def reason(graph: Graph, op: QuantableOperation) -> str:
    """Return why the weights of a quantized layer cannot be tuned, '' where they can."""
    held = op.config.inputs[_WEIGHT]
    if held.policy.is_floating or held.policy.dynamic:
        return f"its policy is '{held.policy}'; expected a linear, static one"
    if held.relation is not Relation.OWN:
        return "it shares its row"
    if len(graph.uses(op.inputs[_WEIGHT])) > 1:
        return "other operations read it"
    of_outputs = held.channel_axis == _output_axis(op) or held.policy.is_per_block
    if graph.rows[held.row].scale_array.size > 1 and not of_outputs:
        return "its scales are not those of outputs"
    if _has(op, _BIAS) and op.inputs[_BIAS] not in graph.parameters:
        return "the bias is computed"
    return ""


def reason_for_scales(op: QuantableOperation) -> str:
    """Return why the scales of a layer's weight have to stay, '' where they need not."""
    if op.config.inputs[_WEIGHT].policy.is_per_block:
        return "an output has several, one a block"
    held = op.config.inputs[_BIAS] if _has(op, _BIAS) else None
    if held is not None and held.relation is Relation.DERIVED and held.state in _DERIVED:
        return "the row of its bias is derived from its own already"
    return ""


def is_quantized(graph: Graph, op: QuantableOperation) -> bool:
    """Whether an operation is a layer whose weight is quantized, and not yet stored as integers."""
    if op.kind not in INPUT_CHANNEL_AXIS or op.inputs[_WEIGHT] not in graph.parameters:
        return False
    return op.config.inputs[_WEIGHT].state is State.ACTIVATED and not op.is_dequantized


def matrix(op: QuantableOperation, weights: Array) -> Reals:
    """Return weights as [groups, outputs / group, k]."""
    group = op.int_attribute("group", 1)
    if op.kind == "quantable.Linear":
        found = weights.T[None]
    elif op.kind == "Conv":
        found = weights.reshape(group, weights.shape[0] // group, -1)
    else:
        by_input = weights.reshape(group, -1, weights.shape[1], int(np.prod(weights.shape[2:])))
        found = by_input.transpose(0, 2, 1, 3).reshape(group, weights.shape[1], -1)
    return np.ascontiguousarray(found, np.float64)


def unmatrix(op: QuantableOperation, found: Reals, shape: tuple[int, ...]) -> Reals:
    """Return the weights of a shape that `matrix` made."""
    if op.kind == "quantable.Linear":
        return np.ascontiguousarray(found[0].T)
    if op.kind == "Conv":
        return found.reshape(shape)
    by_output = found.reshape(*found.shape[:2], -1, int(np.prod(shape[2:])))
    return np.ascontiguousarray(by_output.transpose(0, 2, 1, 3)).reshape(shape)


def _output_axis(op: QuantableOperation) -> int:
    return 0 if op.kind == "Conv" else 1


def _has(op: QuantableOperation, slot: int) -> bool:
    return len(op.inputs) > slot and bool(op.inputs[slot])


def _has_own_bias(graph: Graph, op: QuantableOperation) -> bool:
    if not _has(op, _BIAS) or op.config.inputs[_BIAS].state.is_baked:
        return False
    return len(graph.uses(op.inputs[_BIAS])) == 1 and op.inputs[_BIAS] not in graph.outputs


def _original(graph: Graph, op: QuantableOperation, slot: int) -> Array:
    original = op.original(slot)
    return graph.array(op.inputs[slot]) if original is None else graph.store.get(original)


def _least_scale(
    graph: Graph, op: QuantableOperation, row: QuantizationParameters, bias: Reals
) -> Reals:
    """Return the scales below which a bias would overflow, at most the present ones.

    Half the bias's range is left for what tuning adds to it.
    """
    scale = row.scale_array.astype(np.float64)
    held = op.config.inputs[_BIAS] if _has(op, _BIAS) else None
    if held is None or held.relation is not Relation.DERIVED:
        return np.zeros(scale.shape)
    source = graph.rows[graph.rows[held.row].derived_from[0]]
    if not source.is_filled:
        return np.zeros(scale.shape)
    needed = np.abs(bias) / float(source.scale[0]) / (held.quant_max // 2)
    if op.kind == "ConvTranspose" and scale.size > 1:
        largest = needed.max(axis=0)
    else:
        largest = needed.reshape(-1) if scale.size > 1 else needed.reshape(-1).max(keepdims=True)
    found: Reals = np.minimum(largest, scale)
    return found
