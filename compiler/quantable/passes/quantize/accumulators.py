"""Refuse early what the lowering would refuse late: accumulators that wide operands overflow.

The lowering proves with the integers themselves that no sum leaves 32 bits. Before calibration
only the shape of the weights is known, so that a channel whose largest weight becomes the largest
integer stands for them. Operands of 8 bits and less are left to the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from quantable.ir import (
    Graph,
    QuantableOperation,
    TensorQuantizationConfig,
    UnsupportedError,
)
from quantable.targets.description import Target

_USUAL_BITS = 8


def check_accumulators(
    graph: Graph, target: Target, operations: Iterable[QuantableOperation]
) -> None:
    """Refuse compute operations whose sums of products would leave the accumulator.

    Raises:
        UnsupportedError: Names all of them.
    """
    limit = (1 << (target.arithmetic.accumulator_bits - 1)) - 1
    faults = [
        f"  {op.where()}: sums reach {bound:.3g}, expected at most {limit}"
        for op in operations
        for bound in _bounds(graph, target, op)
        if bound > limit
    ]
    if faults:
        raise UnsupportedError(
            "\n".join(["operands of more than 8 bits overflow the accumulator:", *faults]),
            help="assign fewer bits to an input or the weight of the operation",
        )


def _bounds(graph: Graph, target: Target, op: QuantableOperation) -> Iterator[float]:
    rule = target.rules[op.kind]
    operands = op.config.inputs[:2]
    if rule.role != "compute" or not all(config.is_quantized for config in operands):
        return
    if max(config.bits for config in operands) <= _USUAL_BITS:
        return
    if any(config.policy.is_floating or config.policy.is_per_block for config in operands):
        return  # they are multiplied as floats
    if graph.is_parameter(op.inputs[1]):
        weights = np.abs(graph.array(op.inputs[1]).astype(np.float64))
        yield _steps(operands[0]) * _weight_sum(weights, operands[1], rule.weight_axis)
        return
    shape = graph.shape(op.inputs[0])
    if shape and isinstance(shape[-1], int):
        yield float(_steps(operands[0]) * _steps(operands[1]) * shape[-1])


def _weight_sum(
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    config: TensorQuantizationConfig,
    axis: int,
) -> float:
    """Return the largest sum of absolute integers that one output multiplies."""
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    if not rows.size:
        return 0.0
    largest = rows.max(axis=1) if config.policy.is_per_channel else np.full(len(rows), rows.max())
    scale = np.where(largest > 0, largest / config.quant_max, 1.0)
    return float((rows.sum(axis=1) / scale).max())


def _steps(config: TensorQuantizationConfig) -> int:
    """Return the largest number of steps that a stored value is away from its zero point."""
    bits = max(config.storage.bits, _USUAL_BITS)
    return 1 << (bits - 1) if config.policy.is_symmetric else (1 << bits) - 1
