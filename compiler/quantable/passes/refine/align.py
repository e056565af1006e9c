"""Make operations that demand it share one row.

Before (target c-portable, whose rule for Concat says ``align = "output"``):
    r = Relu(x)
    y = Concat(r, z)
    c = Conv(y, w, b)
    r.out0 activated own r.out0
    y.in0 overlapped overlapped r.out0
    y.in1 activated own y.in1
    y.out0 activated own y.out0
After (nobody else reads r, so that it is made with the row; z is quantized with it on the way in):
    r.out0 overlapped overlapped y.out0
    y.in0 overlapped overlapped y.out0
    y.in1 passive shared y.out0
    y.out0 activated own y.out0

Preconditions:
    1. The target's rule for the kind says 'output' or 'large'; 'none' leaves the operation alone.
    2. 'output': an input whose tensor (through passive and fused operations) has no other reader,
       the same scheme and no fixed range is made in the output's row; any other one is quantized
       again with it. Parameters share it.
    3. 'large': all inputs share the row of the input with the largest range; it must be filled.
    4. Rows that `adopt-quantizers` took from a model stay as they are.

Numerics: lossy (a tensor gets another grid).
See: PPQ's QuantAlignmentPass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, Level, QuantableOperation, Relation, TensorQuantizationConfig
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.adopted_rows import is_adopted
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.slot_editor import Slot, SlotEditor


@dataclass(frozen=True)
class Align(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "align"
    summary: ClassVar[str] = "make operations that demand it share one row"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        editor = SlotEditor(graph)
        # Reversed, so that chains end in the last row.
        for op in context.rewrites.over(editor, reversed(graph.quantable_operations)):
            rule = target.rules.get(op.kind)
            align = rule.align if rule is not None else "none"
            if align == "output" and _is_open(editor, Slot(op.name, "out", 0)):
                for slot in _open_inputs(editor, op):
                    _to_output(graph, editor, op, slot)
            elif align == "large":
                _to_largest(editor, op)
        return editor.finish()


def _is_open(editor: SlotEditor, slot: Slot) -> bool:
    config = editor.config(slot)
    return bool(config.row) and config.suspended is None and not config.state.is_baked


def _open_inputs(editor: SlotEditor, op: QuantableOperation) -> list[Slot]:
    slots = [Slot(op.name, "in", index) for index in range(len(op.inputs))]
    return [slot for slot in slots if _is_open(editor, slot) and not _is_adopted(editor, slot)]


def _is_adopted(editor: SlotEditor, slot: Slot) -> bool:
    """Precondition 4."""
    return is_adopted(editor.rows[editor.config(slot).row])


def _to_output(graph: Graph, editor: SlotEditor, op: QuantableOperation, slot: Slot) -> None:
    output = editor.config(Slot(op.name, "out", 0))
    config = editor.config(slot)
    if config.row == output.row:
        return
    owner = _owner(editor, config.row)
    if owner.side == "out" and _can_adopt(graph, editor, op, owner, output.row):
        editor.overlap(owner, output.row)
        return
    if config.relation is Relation.OWN:
        editor.hand_over(slot)
        config = editor.config(slot)
    editor.put(slot, _in_scheme_of(config, output))
    editor.share(slot, output.row)


def _in_scheme_of(
    config: TensorQuantizationConfig, output: TensorQuantizationConfig
) -> TensorQuantizationConfig:
    return replace(
        output, observer=config.observer, state=config.state, relation=config.relation,
        row=config.row,
    )  # fmt: skip


def _owner(editor: SlotEditor, row: str) -> Slot:
    owning = (Relation.OWN, Relation.DERIVED)
    return next(slot for slot in editor.holders(row) if editor.config(slot).relation in owning)


def _can_adopt(
    graph: Graph, editor: SlotEditor, op: QuantableOperation, owner: Slot, row: str
) -> bool:
    output, held = editor.config(Slot(op.name, "out", 0)), editor.config(owner)
    if not held.same_scheme(output) or held.observer == "fixed":
        return False
    for slot in editor.holders(held.row):
        maker = editor.operation(slot.operation)
        if slot.side == "in" and slot.operation != op.name:
            if not any(config.row == held.row for config in maker.config.outputs):
                return False  # reads the tensor, and makes another one
        elif slot.side == "out":
            value = maker.outputs[slot.index]
            readers = {reader.name for reader, _ in graph.uses(value)}
            holding = {holder.operation for holder in editor.holders(held.row)}
            if value in graph.outputs or not readers <= holding:
                return False
    return row in editor.rows


def _to_largest(editor: SlotEditor, op: QuantableOperation) -> None:
    slots = [s for s in _open_inputs(editor, op) if editor.rows[editor.config(s).row].is_filled]
    if len({editor.config(slot).row for slot in slots}) < 2:
        return
    largest = max(slots, key=lambda slot: _range(editor, slot))
    for slot in slots:
        config = editor.config(slot)
        chosen = editor.config(largest)
        if config.row == chosen.row:
            continue
        if config.relation is Relation.OWN:
            editor.hand_over(slot)
            config = editor.config(slot)
        editor.put(slot, _in_scheme_of(config, chosen))
        editor.share(slot, chosen.row)


def _range(editor: SlotEditor, slot: Slot) -> float:
    config = editor.config(slot)
    return max(editor.rows[config.row].scale) * (config.quant_max - config.quant_min)
