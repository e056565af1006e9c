"""Cases quantized: a target that has a rule for every operation, from the table's own column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quantable.driver import api
from quantable.driver.pipelines import resolve, with_dispatch
from quantable.driver.runtime import LazyExecutor
from quantable.driver.stages import STAGE
from quantable.ir import Graph, QuantableOperation
from quantable.ir.standard_operations import Role, StandardOperation, known_operations
from quantable.passes.base import PassContext, run_passes
from quantable.targets.description import Target
from tests.reference.drawn_operators.drawing import Array, Case

SCHEMES = {
    "v": "activation", "w": "weight", "b": "bias", "p": "passive", "i": "float", "f": "float",
}  # fmt: skip
QUANTIZED = (Role.COMPUTE, Role.ELEMENTWISE, Role.JOIN, Role.PASSIVE)
_INDICES = ("MaxPool", "TopK", "Dropout")
"""Operations whose second output holds indices, or a mask."""
_CHANNELS = {"ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "GRU": 1, "LSTM": 1, "RNN": 1,
             "com.microsoft.Attention": 1}  # fmt: skip
"""Where weights have their channels, if not on the first axis."""


def is_quantized(kind: str) -> bool:
    """Whether the table has a rule for an operation."""
    return known_operations()[kind].role in QUANTIZED


def constants_of(case: Case, is_constant: bool) -> frozenset[int]:
    """Return the slots that are initializers: all that are no values, and perhaps more values."""
    row = known_operations()[case.kind]
    there = [slot for slot, array in enumerate(case.given) if array is not None]
    values = [slot for slot in there if row.slot(slot) == "v" and slot not in case.constants]
    kept = values[:1] if is_constant else values
    return frozenset(there) - set(kept)


def write_target(path: Path) -> None:
    """Write the description of a target that quantizes whatever the table has a rule for."""
    lines = ['extends = "onnxruntime"', 'name = "everything"', 'summary = "every rule"']
    for row in known_operations().values():
        if row.role in QUANTIZED and not row.left_out:
            lines += _rule(row)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rule(row: StandardOperation) -> list[str]:
    role = {Role.COMPUTE: "compute", Role.PASSIVE: "passive"}.get(row.role, "elementwise")
    inputs = [SCHEMES[letter] for letter in row.slots.removesuffix("*")]
    outputs = ["activation", "float"] if row.kind in _INDICES else ["activation"]
    align = ['align = "output"'] if row.role is Role.JOIN else []
    axis = [f"weight_axis = {_CHANNELS[row.kind]}"] if row.kind in _CHANNELS else []
    return [f'[rules."{row.kind}"]', f'role = "{role}"', f"inputs = {inputs!r}",
            f"outputs = {outputs!r}", *align, *axis]  # fmt: skip


def quantized(graph: Graph, feeds: Mapping[str, Array], target: Target) -> Graph:
    """Return the graph, quantized as a whole with statistics of one sample.

    It is what `api.quantize_network` does, with a description that is read once.
    """
    graph = api.canonicalize(graph)
    profile = api.observe(graph, [dict(feeds)])
    context = PassContext(LazyExecutor(), target, profile)
    pipelines = {name: stage.pipeline for name, stage in STAGE.items()}
    passes = (with_dispatch(pipelines["quantize"], method="all-in"), pipelines["calibrate"],
              pipelines["refine"])  # fmt: skip
    for text in passes:
        graph = run_passes(graph, resolve(text), context)
    return graph


def steps_of(graph: Graph) -> dict[str, float]:
    """Return the size of one quantization step of every output that is quantized where it is made.

    Where an operation has none of its own, the largest one of its operands counts.
    """
    found = {}
    for name in graph.outputs:
        op = graph.producers.get(name)
        if isinstance(op, QuantableOperation):
            slot = op.config.outputs[op.outputs.index(name)]
            slots = (slot, *op.config.inputs)
            scales = [float(np.max(graph.rows[s.row].scale_array)) for s in slots if s.row]
            found[name] = scales[0] if slot.is_quantized and scales else max(scales, default=0.0)
    return found
