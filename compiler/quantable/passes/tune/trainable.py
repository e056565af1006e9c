"""What of a part of a network may be trained without touching any other part."""

from __future__ import annotations

import numpy as np

from quantable.ir import (
    Graph,
    QuantableOperation,
    Relation,
    Rounding,
    State,
    TensorQuantizationConfig,
)
from quantable.ir.profile import INPUT_CHANNEL_AXIS

Key = tuple[str, int]
"""(operation, input slot) of a parameter."""
_WEIGHT, _BIAS = 1, 2


def trainable_weights(graph: Graph, part: Graph) -> list[Key]:
    """Return the weights of a part's layers that are quantized, by integers, for themselves."""
    return [
        (op.name, _WEIGHT)
        for op in part.quantable_operations
        if op.kind in INPUT_CHANNEL_AXIS and not _reason(graph, op)
    ]


def untrainable(graph: Graph) -> list[tuple[str, str]]:
    """Return (place, reason) of the quantized layers whose weights cannot be trained."""
    found = []
    for op in graph.quantable_operations:
        if op.kind in INPUT_CHANNEL_AXIS and op.config.inputs[_WEIGHT].is_quantized:
            reason = _reason(graph, op)
            if reason:
                found.append((op.where(), f"the weight stays: {reason}"))
    return found


def trainable_biases(graph: Graph, part: Graph) -> frozenset[Key]:
    """Return the biases of a part's layers that are theirs alone, and not yet stored."""
    return frozenset(
        (op.name, _BIAS)
        for op in part.quantable_operations
        if op.kind in INPUT_CHANNEL_AXIS and _has_own_bias(graph, op)
    )


def trainable_scales(graph: Graph, part: Graph, *, weights: bool, inputs: bool) -> frozenset[str]:
    """Return the rows whose scales only a part's slots quantize with.

    Args:
        graph: The whole graph.
        part: A part of it.
        weights: Return rows of weights.
        inputs: Return rows of activations.
    """
    names = {op.name for op in part.operations}
    wanted, kept = set(), _derived(graph)
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            if not (config.suspended or config.state).is_in_force and not config.state.is_baked:
                continue
            value = (op.inputs if side == "in" else op.outputs)[index]
            is_weight = value in graph.parameters
            is_plain = is_trained_by_gradients(config) and (
                is_weight or config.channel_axis is None
            )
            is_free = op.name in names and is_plain and config.suspended is None
            if not is_free or config.state.is_baked:
                kept.add(config.row)
            elif not is_weight:
                wanted.update([config.row] if inputs else [])
            elif config.relation is not Relation.OWN or (op.name, index) not in set(
                trainable_weights(graph, part)
            ):
                kept.add(config.row)
            else:
                wanted.update([config.row] if weights else [])
    return frozenset(wanted - kept)


def is_trained_by_gradients(config: TensorQuantizationConfig) -> bool:
    """Whether a slot rounds to the nearest integer, with scales that are known beforehand."""
    policy = config.policy
    return not (
        policy.is_floating
        or policy.dynamic
        or config.bits > 16
        or config.rounding in (Rounding.UP, Rounding.DOWN)
    )


def overflowing_bias(graph: Graph, part: Graph) -> str:
    """Return which bias of a part has no room in its integers, '' for none."""
    for op in part.quantable_operations:
        if op.kind not in INPUT_CHANNEL_AXIS or len(op.inputs) <= _BIAS or not op.inputs[_BIAS]:
            continue
        held = op.config.inputs[_BIAS]
        if held.relation is not Relation.DERIVED or op.inputs[_BIAS] not in graph.parameters:
            continue
        rows = [graph.rows[name] for name in graph.rows[held.row].derived_from]
        if not all(row.is_filled for row in rows):
            continue
        bias = np.abs(graph.array(op.inputs[_BIAS]).astype(np.float64)).reshape(-1)
        scale = np.prod([row.scale_array.astype(np.float64).min() for row in rows])
        fine = rows[-1].scale_array.astype(np.float64) * float(rows[0].scale[0])
        steps = bias / (fine if fine.size == bias.size else scale)
        if steps.size and float(steps.max()) > held.quant_max:
            return op.inputs[_BIAS]
    return ""


def _reason(graph: Graph, op: QuantableOperation) -> str:
    held, name = op.config.inputs[_WEIGHT], op.inputs[_WEIGHT]
    if name not in graph.parameters:
        return "it is computed"
    if held.state is not State.ACTIVATED or op.is_dequantized:
        return f"its state is {held.state.value}; expected {State.ACTIVATED.value}"
    if not is_trained_by_gradients(held):
        return f"its policy is '{held.policy}'; expected a linear, static one"
    if held.relation is not Relation.OWN:
        return "it shares its row"
    if len(graph.uses(name)) > 1:
        return "other operations read it"
    return ""


def _has_own_bias(graph: Graph, op: QuantableOperation) -> bool:
    if len(op.inputs) <= _BIAS or op.inputs[_BIAS] not in graph.parameters or op.is_dequantized:
        return False
    name, held = op.inputs[_BIAS], op.config.inputs[_BIAS]
    is_alone = len(graph.uses(name)) == 1 and name not in graph.outputs
    return is_alone and held.state not in (State.ACTIVATED, State.BAKED, State.PASSIVE_BAKED)


def _derived(graph: Graph) -> set[str]:
    """Return the rows that other rows, filled already, are products of."""
    return {n for row in graph.rows.values() if row.is_filled for n in row.derived_from}
