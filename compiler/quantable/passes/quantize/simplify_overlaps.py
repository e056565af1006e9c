"""Quantize each tensor once.

Before (target c-portable):
    r = Relu(x)
    p = MaxPool(r)
    c = Conv(p, w, b)
    r.out0 initial own r.out0
    p.in0 initial own p.in0
    p.out0 initial own p.out0
    c.in0 initial own c.in0
After:
    r.out0 initial own r.out0
    p.in0 overlapped overlapped r.out0
    p.out0 overlapped overlapped r.out0
    c.in0 overlapped overlapped r.out0

Preconditions:
    1. A reader's slot has the scheme of the slot that quantizes the tensor: it is overlapped.
    2. Where no operation quantizes a tensor that it makes (graph inputs, float operations), the
       first reader's slot owns the row; readers with the same scheme share it. So do readers
       whose scheme is another one than that of the slot that quantizes the tensor.
    3. A passive operation only moves elements: its outputs stay on the grid of input 0.
    4. Parameters and slots that are baked or suspended are left alone, and so are those that own a
       row which `adopt-quantizers` took from a model: its reader quantizes again.

Numerics: bit-exact for 3, and for 1 and 2 once the rows are equal (quantizing twice with one row is
quantizing once).
See: PPQ's QuantizeSimplifyPass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level, QuantableOperation, Relation
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.adopted_rows import is_adopted
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.slot_editor import Slot, SlotEditor


@dataclass(frozen=True)
class SimplifyOverlaps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "simplify-overlaps"
    summary: ClassVar[str] = "quantize each tensor once"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        editor = SlotEditor(graph)
        for value in context.rewrites.over(editor, graph.inputs):
            _share_among_readers(graph, editor, value)
        for op in context.rewrites.over(editor, graph.operations):
            is_passive = op.kind in target.rules and target.rules[op.kind].role == "passive"
            for index, value in enumerate(op.outputs):
                slot = Slot(op.name, "out", index)
                if not isinstance(op, QuantableOperation) or not _has_row(editor, slot):
                    _share_among_readers(graph, editor, value)
                    continue
                if is_passive:
                    _follow(editor, slot, Slot(op.name, "in", 0))
                _overlap_readers(graph, editor, value, slot)
                _share_among_readers(graph, editor, value)
        return editor.finish()


def _has_row(editor: SlotEditor, slot: Slot) -> bool:
    config = editor.config(slot)
    return bool(config.row) and config.suspended is None


def _readers(graph: Graph, editor: SlotEditor, value: str) -> list[Slot]:
    slots = [
        Slot(op.name, "in", index)
        for op, index in graph.uses(value)
        if isinstance(op, QuantableOperation)
    ]
    return [slot for slot in slots if _has_row(editor, slot)]


def _follow(editor: SlotEditor, slot: Slot, leader: Slot) -> None:
    of = editor.config(leader)
    config = editor.config(slot)
    if _is_fixed(editor, slot) or not _has_row(editor, leader):
        return
    if config.row != of.row and config.same_scheme(of):
        editor.overlap(slot, of.row)


def _is_fixed(editor: SlotEditor, slot: Slot) -> bool:
    """Whether a slot owns a row of the model (precondition 4)."""
    config = editor.config(slot)
    return config.relation is Relation.OWN and is_adopted(editor.rows[config.row])


def _overlap_readers(graph: Graph, editor: SlotEditor, value: str, maker: Slot) -> None:
    for slot in _readers(graph, editor, value):
        if editor.config(slot).relation is Relation.OWN:
            _follow(editor, slot, maker)


def _share_among_readers(graph: Graph, editor: SlotEditor, value: str) -> None:
    if graph.is_parameter(value):
        return
    owners: list[Slot] = []
    for slot in _readers(graph, editor, value):
        config = editor.config(slot)
        if config.relation is not Relation.OWN or _is_fixed(editor, slot):
            continue
        owner = next((o for o in owners if editor.config(o).same_scheme(config)), None)
        if owner is None:
            owners.append(slot)
        else:
            editor.share(slot, editor.config(owner).row)
