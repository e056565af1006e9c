"""Give up the quantization of a model: what is left is the float network of its weights.

Before:
    x_q = QuantizeLinear(x, 0.5, 128); x_d = DequantizeLinear(x_q, 0.5, 128)
    w_d = DequantizeLinear(w, 0.25)
    y = Conv(x_d, w_d)
After (v are the real numbers that the integers w stand for):
    y = Conv(x, v)

It can then be quantized anew, for another target. A quantable graph becomes a float one again, too:
its operations lose their configs, and parameters keep their present contents.

Preconditions:
    1. A pair is a QuantizeLinear, and DequantizeLinear behind it; numbers may be computed.
    2. Constants whose numbers no config can say stay behind their DequantizeLinear; fold-constants
       computes those.

Numerics: lossy (activations are quantized no more).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import (
    Graph,
    GraphEditor,
    Level,
    Operation,
    QuantableOperation,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    dequantized,
    quantizer_of,
)
from quantable.passes.canonicalize.rewriting import bypass, remove_dead


@dataclass(frozen=True)
class DiscardQuantizers(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "discard-quantizers"
    summary: ClassVar[str] = "give up the quantization of a model"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.FLOAT, Level.QUANTABLE})

    def run(self, graph: Graph, context: PassContext) -> Graph:
        graph = _without_configs(graph)
        editor = GraphEditor(graph)
        changes = 0
        for before in context.rewrites.over(editor, graph.operations):
            op = editor.operations[before.name]
            if op.kind != DEQUANTIZE:
                continue
            maker = editor.producer(op.inputs[0])
            if maker is not None and maker.kind == QUANTIZE:
                changes += bypass(editor, op, maker.inputs[0])
            elif all(name in editor.parameters for name in op.inputs if name):
                changes += _fold(editor, op)
        if not changes:
            return graph
        remove_dead(editor)
        return editor.finish()


def _fold(editor: GraphEditor, op: Operation) -> bool:
    """Turn a dequantized constant into a parameter."""
    found = quantizer_of(editor, op)
    if isinstance(found, str):
        return False
    real = dequantized(editor.array(op.inputs[0]), found)
    editor.remove(op)
    editor.make_parameter(op.outputs[0], real)
    return True


def _without_configs(graph: Graph) -> Graph:
    if graph.level is Level.FLOAT:
        return graph
    operations = tuple(
        op.plain() if isinstance(op, QuantableOperation) else op for op in graph.operations
    )
    metadata = {key: text for key, text in graph.metadata.items() if key != "float_digest"}
    return replace(
        graph, operations=operations, rows={}, level=Level.FLOAT, target="", metadata=metadata
    )
