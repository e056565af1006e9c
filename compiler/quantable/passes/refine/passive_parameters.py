"""Derive the rows of bias, clip and pad parameters.

Before (target c-portable):
    c = Conv(x, w, b)
    y = Clip(c, lo, hi)
    c.in0 activated own c.in0 = 0.5
    c.in1 activated own c.in1 = 0.25 0.125
    c.in2 passive-init derived c.in2
    y.in1 passive-init shared y.out0
After:
    c.in2 passive derived c.in2 = 0.125 0.0625
    y.in1 passive shared y.out0

A bias gets scale ``float32(input scale * weight scale)`` and zero point 0, so that it adds to the
accumulator as it is. The bounds of a Clip take the row of its output, the value of a Pad
that of its input: ``quantize(min(x, bound)) = min(quantize(x), quantize(bound))``, since
quantization is monotone.

Preconditions:
    1. The rows it derives from are filled; others are left for later.
    2. Every bias fits its width; those that do not are reported at once.
    3. Slots that are baked or suspended are left alone.

Numerics: lossy (a bias is rounded to its scale), bit-exact for bounds.
See: PPQ's PassiveParameterQuantizePass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import (
    Graph,
    Level,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
    UnsupportedError,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.slot_editor import Slot, SlotEditor

_SHOWN = 8


@dataclass(frozen=True)
class PassiveParameters(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "passive-parameters"
    summary: ClassVar[str] = "derive the rows of bias, clip and pad parameters"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def run(self, graph: Graph, context: PassContext) -> Graph:
        editor = SlotEditor(graph)
        faults: list[str] = []
        for slot, config in context.rewrites.over(editor, editor.slots()):
            if config.state is not State.PASSIVE_INIT or config.suspended is not None:
                continue
            if config.relation is Relation.DERIVED:
                _derive(editor, slot)
                faults += _overflows(graph, editor, slot)
            elif graph.is_parameter(editor.operation(slot.operation).inputs[slot.index]):
                _take(editor, slot)
        if faults:
            more = [f"  and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
            raise UnsupportedError(
                "\n".join(["a bias overflows its width:", *faults[:_SHOWN], *more]),
                help="keep the operation float (dispatch table), widen the range of its input, or "
                "equalize the weights of the channel with those of the operation before",
            )
        return editor.finish()


def _derive(editor: SlotEditor, slot: Slot) -> None:
    row = editor.rows[editor.config(slot).row]
    sources = [editor.rows[name] for name in row.derived_from]
    if not all(source.is_filled for source in sources):
        return
    scale = np.ones(1, np.float32)
    for source in sources:
        scale = scale * source.scale_array
    editor.rows[row.id] = row.filled(
        scale, np.zeros(scale.shape, np.int64),
        f"{PassiveParameters.name}: product of {', '.join(row.derived_from)}",
    )  # fmt: skip
    editor.put(slot, editor.config(slot).moved(State.PASSIVE, editor.where(slot)))


def _take(editor: SlotEditor, slot: Slot) -> None:
    op = editor.operation(slot.operation)
    # The owner of the row may have changed since it was assigned: an alignment changes Clip's row.
    acted_on, held = _acted_on(op), editor.config(slot)
    row = editor.rows[acted_on.row]
    if row.is_filled:
        same = replace(
            acted_on, observer="", state=held.state, relation=held.relation, row=held.row
        )
        editor.put(slot, same.sharing(row, editor.where(slot)))


def _acted_on(op: QuantableOperation) -> TensorQuantizationConfig:
    return op.config.inputs[0] if op.kind == "Pad" else op.config.outputs[0]


def _overflows(graph: Graph, editor: SlotEditor, slot: Slot) -> list[str]:
    config = editor.config(slot)
    row: QuantizationParameters = editor.rows[config.row]
    if not row.is_filled:
        return []
    op = editor.operation(slot.operation)
    bias = graph.array(op.inputs[slot.index]).astype(np.float64).reshape(-1)
    steps = np.rint(bias / row.scale_array.astype(np.float64))
    low, high = config.quant_min, config.quant_max
    scale = np.broadcast_to(row.scale_array, bias.shape)
    return [
        f"  {op.where()} in{slot.index} channel {channel}: value {bias[channel]:.6g} is "
        f"{steps[channel]:.6g} steps of {scale[channel]:.6g}, "
        f"expected {low} to {high} ({config.bits} bits)"
        for channel in np.flatnonzero((steps < low) | (steps > high))
    ]
