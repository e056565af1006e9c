"""The average error of every output channel: the part of an error that a bias could take out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.driver.analysis.subject import Pair, Subject, named
from quantable.ir import Graph, Operation

OUTPUT_AXIS = {"Conv": 1, "ConvTranspose": 1, "quantable.Linear": -1}
"""Kinds of operation that have a bias, and the axis of their output's channels."""
BIAS_SLOT = 2

Means = dict[str, npt.NDArray[np.float64]]
"""By operation, float minus quantized, averaged over samples and all axes but that of channels."""


class Shifts:
    """Averages errors over samples, at the outputs of operations that have a bias."""

    def __init__(self, subject: Subject) -> None:
        self._graph = subject.graph
        self._operations = [
            op for op in subject.graph.quantable_operations if _has_bias(subject.graph, op)
        ]
        self._sums: dict[str, list[npt.NDArray[np.float64]]] = {
            op.name: [] for op in self._operations
        }
        self._squares = dict.fromkeys(self._sums, 0.0)

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        for op in self._operations:
            name, axis = op.outputs[0], OUTPUT_AXIS[op.kind]
            error = pair.real[name].astype(np.float64) - pair.quantized[name].astype(np.float64)
            others = tuple(i for i in range(error.ndim) if i != axis % error.ndim)
            self._sums[op.name].append(error.mean(axis=others))
            self._squares[op.name] += float(np.square(error).mean())

    def means(self) -> Means:
        """Return the averages."""
        return {name: np.mean(sums, axis=0) for name, sums in self._sums.items()}

    def facts(self) -> list[dict[str, object]]:
        """Return by operation, as JSON values, the largest shift and what all of them are.

        ``share`` is the part of the output's noise that is the same in every element of a channel.
        """
        rows: list[dict[str, object]] = []
        for op in self._operations:
            means = np.mean(self._sums[op.name], axis=0)
            noise = self._squares[op.name] / len(self._sums[op.name])
            constant = float(np.square(means).mean())
            rows.append({
                **named(op), "value": op.outputs[0], "channels": int(means.size),
                "largest": float(np.abs(means).max(initial=0.0)),
                "share": constant / noise if noise > 0 else None,
            })  # fmt: skip
        return rows


def _has_bias(graph: Graph, op: Operation) -> bool:
    return (
        op.kind in OUTPUT_AXIS
        and len(op.inputs) > BIAS_SLOT
        and op.inputs[BIAS_SLOT] in graph.parameters
    )
