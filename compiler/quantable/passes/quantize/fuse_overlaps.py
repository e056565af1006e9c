"""Leave the quantization inside a fused pair to its last operation.

Before (target c-portable):
    c = Conv(x, w, b)
    r = Relu(c)
    c.out0 initial own c.out0
    r.in0 initial own r.in0
    r.out0 initial own r.out0
After:
    c.out0 overlapped overlapped r.out0
    r.in0 overlapped overlapped r.out0
    r.out0 initial own r.out0

Preconditions:
    1. A fusion pattern of the target fits the two operations.
    2. The first operation's output has one reader, the second operation in slot 0, and is no output
       of the graph.
    3. Both slots and the second operation's output are quantized, and not with a fixed range.
    4. Rows that `adopt-quantizers` took from a model stay: what quantizes inside a pair goes on.

Numerics: lossy where the pair was quantized twice; now as the target computes.
See: PPQ's QuantizeFusionPass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, Level, QuantableOperation, Relation, State
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.adopted_rows import is_adopted
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.quantize.fusions import fused_followers
from quantable.passes.slot_editor import Slot, SlotEditor
from quantable.targets.description import Target

_FREE = (State.INITIAL, State.ACTIVATED, State.OVERLAPPED)


@dataclass(frozen=True)
class FuseOverlaps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "fuse-overlaps"
    summary: ClassVar[str] = "leave the quantization inside a fused pair to its last operation"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        editor = SlotEditor(graph)
        followers = fused_followers(graph, target)
        # Reversed, so that chains end in the last row.
        for first in context.rewrites.over(editor, reversed(graph.quantable_operations)):
            then = followers.get(first.name)
            if then is None:
                continue
            inner = (Slot(first.name, "out", 0), Slot(then.name, "in", 0))
            row = editor.config(Slot(then.name, "out", 0)).row
            if not row or any(_is_fixed(editor, slot) for slot in inner):
                context.remarks.append((self.name, first.where(), "declined: not quantized alike"))
                continue
            if any(_is_another_adopted(editor, slot, row) for slot in inner):
                reason = "declined: the model quantizes between them"
                context.remarks.append((self.name, first.where(), reason))
                continue
            for slot in inner:
                editor.overlap(slot, row)
        return editor.finish()


def inside_fusions(graph: Graph, target: Target) -> Graph:
    """Return the graph with the free slots inside fusions overlapped by their last operation's.

    Slots that are not quantized, between two operations that the target fuses, become what this
    pass makes of slots that are: nothing else is known of a tensor that nobody quantizes.
    """
    changed: dict[str, QuantableOperation] = {}
    held = {op.name: op for op in graph.quantable_operations}
    followers = fused_followers(graph, target)
    for first in reversed(graph.quantable_operations):  # so that chains end in the last row
        then = followers.get(first.name)
        if then is None or not then.config.outputs[0].row:
            continue
        then = changed.get(then.name, held[then.name])
        row = then.config.outputs[0]
        if first.config.outputs[0].row or then.config.inputs[0].row:
            continue
        inner = replace(row, state=State.OVERLAPPED, relation=Relation.OVERLAPPED, observer="")
        changed[then.name] = then.with_slot("in", 0, inner)
        changed[first.name] = first.with_slot("out", 0, inner)
    return graph.with_operations(changed.values()) if changed else graph


def _is_fixed(editor: SlotEditor, slot: Slot) -> bool:
    config = editor.config(slot)
    return config.state not in _FREE or config.observer == "fixed"


def _is_another_adopted(editor: SlotEditor, slot: Slot, row: str) -> bool:
    """Precondition 4."""
    held = editor.config(slot).row
    return held not in ("", row) and is_adopted(editor.rows[held])
