"""Give every quantable operation its config from the target.

Before (target c-portable):
    c = Conv(x, w, b)
    y = Relu(c)
    c.in0 fp32
    c.in1 fp32
    c.in2 fp32
    c.out0 fp32
After:
    c.in0 initial own c.in0
    c.in1 initial own c.in1
    c.in2 passive-init derived c.in2
    c.out0 initial own c.out0

Every quantized slot gets a row ``<operation>.<in|out><slot>``, empty until calibration; a range
that the target fixes (Softmax) is filled at once.

Preconditions:
    1. The operation was dispatched and has no config yet.
    2. A slot is quantized only if its tensor is float and the target's rule says so. Tail tensors,
       from which no compute operation can be reached, get the scheme's tail form; the first and
       the last compute operations get the edge form of their inputs' and weights' schemes
       (`schemes`, `edges`).
    3. A parameter in an activation slot gets the scheme 'constant'.
    4. Entries of the table ("operation.slot=scheme", "operation=scheme") come before 2 and 3.
       Schemes are those that the target's description lists as alternatives.
    5. Weights whose target asks for blocks get them where they are a matrix (Linear, pointwise
       Conv) with at least one whole block of input channels; others get the scheme `otherwise`. A
       bias stays float beside weights in blocks and floating ones: their products are no integers.
    6. A grouped ConvTranspose has more output channels than its weight has rows along the channel
       axis: its weight is quantized per tensor.

Numerics: bit-exact (no slot is in force before calibration; fixed ranges are, and are lossy).
See: PPQ's quantizers (init_quantize_config).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level, QuantableOperation
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.accumulators import check_accumulators
from quantable.passes.quantize.assignments import read_assignments
from quantable.passes.quantize.config_assigner import ConfigAssigner
from quantable.passes.quantize.dispatch import chosen_target


@dataclass(frozen=True)
class AssignConfigs(Pass):
    """See the module's docstring.

    Attributes:
        table: Entries "operation.slot=scheme" or "operation=scheme", see `assignments`.
    """

    name: ClassVar[str] = "assign-configs"
    summary: ClassVar[str] = "give every quantable operation its config from the target"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    table: tuple[str, ...] = ()

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        fresh = [op for op in graph.quantable_operations if not _is_assigned(op)]
        if not fresh:
            return graph
        assigner = ConfigAssigner(graph, target, read_assignments(graph, target, self.table))
        changed = [assigner.assign(op) for op in fresh if context.rewrites.admit(op.name)]
        if target.has_integer_level:
            check_accumulators(graph, target, changed)
        return graph.with_operations(changed).with_rows(assigner.rows)


def _is_assigned(op: QuantableOperation) -> bool:
    return any(config.row for _, _, config in op.config.slots())
