"""The error of a whole network: what decides after all that was fitted part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from quantable.ir import Decision, Graph, Operation, QuantableOperation, Relation
from quantable.passes.laboratory import Array, Laboratory

WHOLE = "noise of the network's outputs on held-out samples"
_SOFTMAX = ("Softmax", "LogSoftmax")


def judged_values(graph: Graph) -> list[str]:
    """Return the values that are compared: the outputs, or what a last Softmax reads.

    Behind a Softmax a few sure samples outweigh all others.
    """
    return [_before_softmax(graph, name) for name in graph.outputs]


def _before_softmax(graph: Graph, output: str) -> str:
    maker = graph.producers.get(output)
    return maker.inputs[0] if maker is not None and maker.kind in _SOFTMAX else output


class NetworkNoise:
    """Measures quantable graphs against the float network that one of them is made of.

    Args:
        graph: Its originals are the float network.
        laboratory: Runs graphs.
        samples: Which ones.
    """

    def __init__(self, graph: Graph, laboratory: Laboratory, samples: Sequence[int]) -> None:
        self._laboratory, self._samples = laboratory, samples
        self._targets = laboratory.values(graph.dequantized(), judged_values(graph), samples)

    def __call__(self, graph: Graph) -> float:
        """Return the noise (see `Laboratory.noise`), averaged over the outputs."""
        noise = self._laboratory.noise(graph, self._targets, self._samples)
        return sum(noise.values()) / len(noise)


def decided(
    before: Graph, after: Graph, laboratory: Laboratory, samples: Sequence[int], tried: str
) -> Decision:
    """Return whether all changes of a pass together lower the error of the network."""
    noise = NetworkNoise(before, laboratory, samples)
    return decision(before, after, (noise(before), noise(after)), tried)


def decision(before: Graph, after: Graph, errors: tuple[float, float], tried: str) -> Decision:
    """Return whether all changes of a pass together are kept, given the error before and after."""
    changed = tuple(op.name for op in after.operations if _differs(op, before, after))
    is_better = errors[1] < errors[0]
    reason = "" if is_better else "the network's error does not fall: all is taken back"
    return Decision(changed, tried, WHOLE, *errors, is_better, reason)


def noise_between(values: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
    """Return the noise (see `Laboratory.noise`) of values that are there, averaged over them."""
    found = []
    for name, target in targets.items():
        wanted = target.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            error = float(np.square(values[name].astype(np.float64) - wanted).sum())
        signal = float(np.square(wanted).sum())
        ratio = error / signal if signal > 0 else error
        found.append(ratio if math.isfinite(error) else math.inf)
    return sum(found) / len(found)


def _differs(op: Operation, before: Graph, after: Graph) -> bool:
    """Whether an operation is another one than before, or its parameters or own rows are."""
    if op != before.operation_by_name.get(op.name):
        return True
    if any(before.parameters.get(name) != after.parameters.get(name) for name in op.inputs):
        return True
    slots = op.config.slots() if isinstance(op, QuantableOperation) else ()
    own = [config.row for _, _, config in slots if config.relation is Relation.OWN]
    return any(before.rows.get(row) != after.rows.get(row) for row in own)
