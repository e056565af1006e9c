"""Real constants of a quantized model, for targets that compute in integers alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    numerics,
)
from quantable.passes.quantize.schemes import rule_scheme
from quantable.targets.description import Scheme, Target

Remarks = list[tuple[str, str, str]]
_CONSTANT = "constant"


def with_constants(graph: Graph, target: Target, remarks: Remarks) -> Graph:
    """Return the graph with a row for every real constant that the target wants as integers.

    A constant needs no data: its range is known. Tools leave some real, such as the factor that a
    division by a constant becomes.

    Args:
        graph: A quantable graph.
        target: With an integer level.
        remarks: (pass, place, what was done); each constant is added.
    """
    rows = dict(graph.rows)
    changed: list[QuantableOperation] = []
    for op in graph.quantable_operations:
        held = op
        for slot, name in enumerate(op.inputs):
            if not _is_wanted(graph, target, op, slot):
                continue
            row, held = _with_row(graph, held, slot, target.schemes[_CONSTANT])
            rows[row.id] = row
            text = f"the model leaves '{name}' real: it gets the row of its range"
            remarks.append(("adopt-quantizers", f"{op.where()} in{slot}", text))
        if held is not op:
            changed.append(held)
    return replace(graph.with_operations(changed), rows=rows) if changed else graph


def _is_wanted(graph: Graph, target: Target, op: QuantableOperation, slot: int) -> bool:
    name = op.inputs[slot]
    if op.kind not in target.rules or name not in graph.parameters or op.config.inputs[slot].row:
        return False
    is_finite = bool(np.isfinite(graph.array(name).astype(np.float64)).all())
    return is_finite and rule_scheme(graph, target, op, slot) == _CONSTANT


def _with_row(
    graph: Graph, op: QuantableOperation, slot: int, scheme: Scheme
) -> tuple[QuantizationParameters, QuantableOperation]:
    values = graph.array(op.inputs[slot]).astype(np.float64)
    config = scheme.config()
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    scale, zero = numerics.scale_from_range(low, high, config)
    text = "adopt-quantizers: the range of a constant that the model leaves real"
    row = QuantizationParameters(f"{op.name}.in{slot}").filled(scale, zero, text)
    held = replace(config, state=State.ACTIVATED, relation=Relation.OWN, row=row.id)
    return row, op.with_slot("in", slot, held)
