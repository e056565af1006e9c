"""Integers of a quantized model's weights, for targets whose kernels want them symmetric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    BakedParameter,
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Symmetry,
    numerics,
)
from quantable.passes.quantize.adopted_configs import AdoptedConfigs
from quantable.passes.quantize.adopted_rows import ADOPTING
from quantable.targets.description import Target

Remarks = list[tuple[str, str, str]]
WEIGHT = 1
"""The input slot of weights."""


def with_symmetric_weights(graph: Graph, target: Target, remarks: Remarks) -> Graph:
    """Return the graph with the zero points of weights taken off their integers, where that fits.

    ``(q - zero_point) * scale`` stays what it is: DequantizeLinear subtracts integers, too. Weights
    around 128 in uint8 fit int8 always; the others are left as they are.

    Args:
        graph: With the configs of a model's quantizers.
        target: With an integer level.
        remarks: (pass, place, what was done); each weight that changes is added.
    """
    rows = dict(graph.rows)
    changed: list[QuantableOperation] = []
    for op in graph.quantable_operations:
        shifted = shifted_weight(graph, op, target)
        if shifted is None or not _fits(shifted, op.config.inputs[WEIGHT].bits):
            continue
        row, held = _symmetric(graph, op, shifted)
        rows[row.id] = row
        changed.append(held)
        text = f"stored as {held.config.inputs[WEIGHT].storage.value}, less its zero point"
        remarks.append((ADOPTING, f"{op.where()} in{WEIGHT}", text))
    return replace(graph.with_operations(changed), rows=rows) if changed else graph


def shifted_weight(
    graph: Graph, op: QuantableOperation, target: Target
) -> npt.NDArray[np.int64] | None:
    """Return a baked weight less its zero point; None where it has none, or none for each channel.

    Blocks and small floats have other reasons why integer kernels do not take them.
    """
    rule = target.rules.get(op.kind)
    stored = op.baked_parameter(WEIGHT)
    if rule is None or "weight" not in rule.inputs[WEIGHT : WEIGHT + 1] or stored is None:
        return None
    config = op.config.inputs[WEIGHT]
    row = graph.rows[config.row]
    if not any(row.zero_point) or config.policy.is_per_block or config.policy.is_floating:
        return None
    integers = graph.store.get(stored.content).astype(np.int64)
    return integers - numerics.along(row.zero_point_array, integers.shape, config)


def _fits(integers: npt.NDArray[np.int64], bits: int) -> bool:
    half = 1 << (bits - 1)
    return not integers.size or bool(-half <= integers.min() and integers.max() < half)


def _symmetric(
    graph: Graph, op: QuantableOperation, integers: npt.NDArray[np.int64]
) -> tuple[QuantizationParameters, QuantableOperation]:
    held = op.config.inputs[WEIGHT]
    half = 1 << (held.bits - 1)
    policy = replace(held.policy, symmetry=Symmetry.SYMMETRIC)
    full = replace(held, policy=policy, quant_min=-half, quant_max=half - 1)
    config = AdoptedConfigs.narrowed(full, integers)
    row = graph.rows[held.row]
    row = row.filled(row.scale_array, np.zeros_like(row.zero_point_array), row.provenance)
    content = graph.store.put(integers.astype(config.storage.numpy), config.storage)
    baked = tuple(
        BakedParameter(WEIGHT, content, row.digest) if entry.slot == WEIGHT else entry
        for entry in op.baked
    )
    return row, replace(op.with_slot("in", WEIGHT, config), baked=baked)
