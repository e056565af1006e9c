"""Values whose statistics follow exactly from those of another value: they need not be counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation

Counts = npt.NDArray[np.int64]
SAME_ELEMENTS = frozenset({
    "DepthToSpace", "Dropout", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze",
    "Transpose", "Unsqueeze",
})  # fmt: skip
_NEGATIVE = 1 << 15


@dataclass(frozen=True, slots=True)
class Rule:
    """How the statistics of a value follow from those of its source.

    Attributes:
        source: The value they follow from.
        upper: For elements clamped to [0, upper], the bin of `upper` (None for no bound).
        clamped: Whether elements are clamped at all, or only moved.
        limit: The bound itself.
    """

    source: str
    clamped: bool = False
    upper: int | None = None
    limit: float = float("inf")

    def apply(self, counts: Counts, low: float, high: float) -> tuple[Counts, float, float]:
        """Return histogram, minimum and maximum of the value."""
        if not self.clamped:
            return counts, low, high
        result = counts.copy()
        result[0] += result[_NEGATIVE:].sum()
        result[_NEGATIVE:] = 0
        if self.upper is not None:
            result[self.upper] += result[self.upper + 1 :].sum()
            result[self.upper + 1 :] = 0
        return result, min(max(low, 0.0), self.limit), min(max(high, 0.0), self.limit)


def derivable(graph: Graph) -> Mapping[str, Rule]:
    """Return a rule for every value whose statistics follow from another's.

    1. Operations that only move elements.
    2. Relu: every negative bin falls into that of zero.
    3. Clip to [0, c] where c is the first number of its bin: what lies above falls into it.
    """
    rules: dict[str, Rule] = {}
    for op in graph.operations:
        if not op.outputs or not graph.values[op.outputs[0]].is_real:
            continue
        if op.inputs and op.inputs[0] and op.inputs[0] not in graph.parameters:
            rule = _rule(graph, op)
            if rule is not None:
                rules[op.outputs[0]] = rule
    return rules


def _rule(graph: Graph, op: Operation) -> Rule | None:
    source = op.inputs[0]
    if graph.values[source].dtype is not graph.values[op.outputs[0]].dtype:
        return None
    if op.kind in SAME_ELEMENTS and len([name for name in op.outputs if name]) == 1:
        return Rule(source)
    if op.kind == "Relu":
        return Rule(source, clamped=True)
    if (
        op.kind == "Clip"
        and len(op.inputs) == 3
        and all(n in graph.parameters for n in op.inputs[1:])
    ):
        low, high = (np.float32(graph.array(name).reshape(())) for name in op.inputs[1:])
        pattern = int(high.view(np.uint32))
        if low == 0 and 0 < high < np.inf and not pattern & 0xFFFF:
            return Rule(source, True, pattern >> 16, float(high))
    return None
