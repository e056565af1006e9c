"""Store quantized parameters as integers.

Before (target c-portable):
    c = Conv(x, w, b)
    c.in1 activated own c.in1
    c.in2 passive derived c.in2
After (stored as i8 and i32):
    c.in1 baked own c.in1
    c.in2 passive-baked derived c.in2

Preconditions:
    1. The parameter's slot is in force and its operation is not dequantized.
    2. Its policy is static. Floating ones are stored as bit patterns of a small float type, and a
       width that no type has is an error.
    3. The parameter has one reader (`unshare-parameters` sees to that); a shared one is an error.

Numerics: bit-exact (the integers stand for exactly what the slot quantized on the fly).
See: PPQ's ParameterBakingPass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, InvariantError, Level, QuantableOperation
from quantable.passes.base import Pass, PassContext


@dataclass(frozen=True)
class Bake(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "bake"
    summary: ClassVar[str] = "store quantized parameters as integers"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def run(self, graph: Graph, context: PassContext) -> Graph:
        changed = [
            _baked(graph, op)
            for op in graph.quantable_operations
            if _slots(op) and context.rewrites.admit(op.name)
        ]
        return graph.with_operations(changed) if changed else graph


def _slots(op: QuantableOperation) -> list[int]:
    return [slot for slot, _ in op.originals if op.config.inputs[slot].state.is_in_force]


def _baked(graph: Graph, op: QuantableOperation) -> QuantableOperation:
    for slot in _slots(op):
        name = op.inputs[slot]
        readers = graph.uses(name)
        if len(readers) > 1 or name in graph.outputs:
            raise InvariantError(
                f"cannot bake parameter '{name}': expected one reader, found {len(readers)}",
                where=f"{op.where()} in{slot}",
                help="run the pass unshare-parameters on the float graph",
            )
    return op.bake_parameters(graph.parameters, graph.rows, graph.store)
