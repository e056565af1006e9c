"""Quantize the tensors that a quantized model leaves real, for a target of integers alone.

Before (target c-portable, behind `adopt-quantizers{partial=true}`; the model quantizes x and w):
    c = Conv(x, w)
    y = Relu(c)
    c.in0 activated own c.in0
    c.in1 baked own c.in1
After:
    c.out0 initial own c.out0
    y.in0 initial own y.in0
    y.out0 initial own y.out0

`fuse-overlaps` and `simplify-overlaps` then leave one row a tensor, and `calibrate` fills it from
statistics that were measured on the model with its own quantizers in force. A remark names each
tensor that gets one.

Preconditions:
    1. The target has an integer level: all others leave these tensors real, and there is nothing to
       do.
    2. Every operation has a rule of the target and fulfils its conditions; `adopt-quantizers` has
       refused the graph otherwise.
    3. A slot with a row keeps it. What a passive operation makes of a tensor with a row is on the
       grid of that. Any other slot gets what `assign-configs` gives it.

Numerics: bit-exact (no slot that is new is in force before calibration; fixed ranges are, and are
lossy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level, QuantableOperation
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.accumulators import check_accumulators
from quantable.passes.quantize.config_assigner import ConfigAssigner
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.quantize.fusions import fused_followers
from quantable.passes.quantize.grid_flow import with_overlaps
from quantable.passes.quantize.integer_rows import missing_rows, require_integers


@dataclass(frozen=True)
class CompleteQuantizers(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "complete-quantizers"
    summary: ClassVar[str] = "quantize the tensors that a quantized model leaves real"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        if not target.has_integer_level:
            text = f"target '{target.name}' leaves tensors real that the model does not quantize"
            context.remarks.append((self.name, graph.name, text))
            return graph
        require_integers(graph, target, is_partial=True)
        passive = [kind for kind, rule in target.rules.items() if rule.role == "passive"]
        graph = with_overlaps(graph, target.name, passive=passive)
        missing = {op.name: missing_rows(graph, op, target) for op in graph.quantable_operations}
        asked = [op for op in graph.quantable_operations if missing[op.name]]
        if not asked:
            return graph
        assigner = ConfigAssigner(graph, target)
        changed = [assigner.assign(op) for op in asked if context.rewrites.admit(op.name)]
        check_accumulators(graph, target, changed)
        made = graph.with_operations(changed).with_rows(assigner.rows)
        moved = {n for op in made.operations if op.kind in passive for n in op.outputs}
        inner = {op.inputs[0] for op in fused_followers(made, target).values()}
        for name, place in _places(asked, missing).items():
            if name not in moved | inner:
                context.remarks.append((self.name, place, f"the model does not quantize '{name}'"))
        return made


def _places(
    operations: Sequence[QuantableOperation], missing: Mapping[str, list[tuple[str, str]]]
) -> dict[str, str]:
    """Return the first slot of every tensor without a row."""
    found: dict[str, str] = {}
    for op in operations:
        for slot, name in missing[op.name]:
            found.setdefault(name, f"{op.where()} {slot}")
    return found
