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
    4. Operations that no output depends on are dropped first: they are no readers.
    5. All other quantizers (computed scales, float16, blocks of activations) stay operations; the
       remarks say why. A target with an integer level refuses the graph where an operation breaks
       its rules or a tensor has no row, all of it at once. Real constants beside quantized
       operands get the row of their own range there, which the remarks say.

Numerics: bit-exact (the slots do what the operations did); lossy where an integer target needs the
row of a real constant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Level, graph_digest
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import QUANTIZERS
from quantable.passes.canonicalize.rewriting import remove_dead
from quantable.passes.quantize.adopted_constants import with_constants
from quantable.passes.quantize.adopted_rows import ADOPTING
from quantable.passes.quantize.adopted_weights import with_symmetric_weights
from quantable.passes.quantize.adoption import Adoption
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.quantize.fuse_overlaps import inside_fusions
from quantable.passes.quantize.integer_rows import require_integers

NOT_QUANTIZED = "the model does not quantize it"


@dataclass(frozen=True)
class AdoptQuantizers(Pass):
    """See the module's docstring.

    Attributes:
        partial: Whether tensors that the model does not quantize are left to `complete-quantizers`,
            where the target has integers alone.
    """

    name: ClassVar[str] = ADOPTING
    summary: ClassVar[str] = "make configs of the quantizers that a model has"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.FLOAT})
    partial: bool = False

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        adoption = Adoption(_without_dead(graph), target.name)
        adoption.take_pairs(context.rewrites)
        adoption.move_rows(is_all=target.has_integer_level)
        adoption.take_parameters(context.rewrites)
        made = adoption.finish(is_all=target.has_integer_level)
        metadata = {**graph.metadata, "float_digest": graph_digest(graph)}
        made = replace(made, level=Level.QUANTABLE, target=target.name, metadata=metadata)
        made = inside_fusions(made, target)
        context.remarks += [(self.name, *remark) for remark in adoption.remarks]
        context.remarks += [
            (self.name, op.where(), NOT_QUANTIZED)
            for op in made.operations
            if op.kind not in QUANTIZERS and op not in made.quantable_operations
        ]
        if target.has_integer_level:
            made = with_constants(made, target, context.remarks)
            made = with_symmetric_weights(made, target, context.remarks)
            require_integers(made, target, is_partial=self.partial)
        return made


def _without_dead(graph: Graph) -> Graph:
    editor = GraphEditor(graph)
    return editor.finish() if remove_dead(editor) else graph
