"""Make configs of the quantizers that a model has, and parameters of its integers.

Before (target onnxruntime):
    x_q = QuantizeLinear(x, 0.5, 128); x_d = DequantizeLinear(x_q, 0.5, 128)
    w_d = DequantizeLinear(w, 0.25)
    c = Conv(x_d, w_d)
    c_q = QuantizeLinear(c, 1, 0); y = DequantizeLinear(c_q, 1, 0)
After (w stored as it was, and its real numbers as original):
    y = Conv(x, w)
    in0 activated own; in1 baked own; out0 activated own

Preconditions:
    1. A pair: a QuantizeLinear, and DequantizeLinear of the same constant numbers behind it. Its
       row belongs to the output slot that makes the tensor, where every reader goes through pairs
       of that row, else to the input slots of its readers. Where neither holds a config (a graph's
       output that is quantized twice), an Identity does.
    2. DequantizeLinear of a constant: the integers are baked into every slot that reads them. A
       bias at the product of both scales is derived, any other one has a row of its own.
    3. A row behind an operation that only moves elements goes in front of it where an operation
       makes that tensor for it alone, or where the target quantizes everything; else to the
       readers. What lies on a row's grid, directly or moved by passive operations, is overlapped;
       so are the slots inside a fusion of the target, whose last operation quantizes.
    4. All other quantizers (computed scales, float16, blocks of activations) stay operations; the
       remarks say why. A target with an integer level refuses the graph where an operation breaks
       its rules or a tensor has no row, all of it at once. Real constants beside quantized
       operands get the row of their own range there, which the remarks say.

Numerics: bit-exact (the slots do what the operations did); lossy where an integer target needs the
row of a real constant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import (
    Graph,
    Level,
    Operation,
    QuantableOperation,
    UnsupportedError,
    graph_digest,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import QUANTIZERS
from quantable.passes.quantize.adopted_constants import with_constants
from quantable.passes.quantize.adoption import Adoption
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.quantize.fuse_overlaps import inside_fusions
from quantable.passes.quantize.legality import find_faults
from quantable.targets.description import FLOAT, Target

_HELP = (
    "let the tool that made the model quantize these, or choose a target that can leave them "
    "float, for instance onnxruntime",
    "or quantize its float network anew: compile --requantize, or the passes "
    "discard-quantizers,canonicalize before quantize",
)
NOT_QUANTIZED = "the model does not quantize it"


@dataclass(frozen=True)
class AdoptQuantizers(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "adopt-quantizers"
    summary: ClassVar[str] = "make configs of the quantizers that a model has"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.FLOAT})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        adoption = Adoption(graph, target.name)
        adoption.take_pairs(context.rewrites)
        adoption.move_rows(is_all=target.has_integer_level)
        adoption.take_parameters(context.rewrites)
        made = replace(
            adoption.finish(), level=Level.QUANTABLE, target=target.name,
            metadata={**graph.metadata, "float_digest": graph_digest(graph)},
        )  # fmt: skip
        made = inside_fusions(made, target)
        context.remarks += [(self.name, *remark) for remark in adoption.remarks]
        context.remarks += [
            (self.name, op.where(), NOT_QUANTIZED)
            for op in made.operations
            if op.kind not in QUANTIZERS and op not in made.quantable_operations
        ]
        if target.has_integer_level:
            made = with_constants(made, target, context.remarks)
            _require_integers(made, target)
        return made


def _require_integers(graph: Graph, target: Target) -> None:
    """Refuse what an integer target cannot run, and tensors that the model does not quantize."""
    faults = find_faults(graph, target, set())
    lines = [
        f"  {op.where()}: {faults[op.name][0]}" for op in graph.operations if op.name in faults
    ]
    for op in graph.operations:
        if op.name not in faults:
            missing = _missing(graph, op, target)
            lines += [
                f"  {op.where()} {at}: the model does not quantize '{v}'" for at, v in missing
            ]
            lines += [f"  {op.where()} in1: {text}" for text in _weight_faults(graph, op, target)]
    if lines:
        helps = [text for _, text in faults.values()] + list(_HELP)
        raise UnsupportedError(
            f"target '{target.name}' computes in integers alone, and {len(lines)} places of "
            f"'{graph.name}' have none:\n" + "\n".join(lines),
            help="\n        ".join(dict.fromkeys(helps)),
        )


def _missing(graph: Graph, op: Operation, target: Target) -> list[tuple[str, str]]:
    """Return (slot, value) of the tensors that a rule wants quantized, and that have no row."""
    rule = target.rules[op.kind]
    config = getattr(op, "config", None)
    found = []
    for side, names in (("in", op.inputs), ("out", op.outputs)):
        for index, name in enumerate(names):
            scheme = rule.input_scheme(index) if side == "in" else rule.output_scheme(index)
            is_free = scheme in (FLOAT, "bias", "passive") or not name
            if is_free or not graph.values[name].is_real:
                continue
            held = None if config is None else (config.inputs if side == "in" else config.outputs)
            if held is None or not held[index].row:
                found.append((f"{side}{index}", name))
    return found


def _weight_faults(graph: Graph, op: Operation, target: Target) -> list[str]:
    """Return what integer kernels cannot do with a weight."""
    rule = target.rules[op.kind]
    if not isinstance(op, QuantableOperation) or "weight" not in rule.inputs[1:2]:
        return []
    config = op.config.inputs[1]
    found = []
    if config.row and any(graph.rows[config.row].zero_point):
        found.append("its weight has a zero point that is not 0, expected symmetric integers")
    if config.policy.is_per_block or config.policy.is_floating:
        found.append("its weight is in blocks or in small floats, expected integers by channel")
    return found
