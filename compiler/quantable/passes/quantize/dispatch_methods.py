"""The table of methods of dispatching: which operations are quantized where not all have to be.

Each method chooses among the operations that the target can quantize. What an operation is for
decides: `compute` operations (convolutions, matrix products) are where quantization pays, others
are quantized so that tensors need not go to float and back.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from quantable.ir import Graph, Operation
from quantable.passes.quantize.fusions import fused_pairs
from quantable.passes.quantize.value_flow import reached_operations, shape_or_index_operations
from quantable.targets.description import Target

Choose = Callable[[Graph, Target, Set[str]], set[str]]


@dataclass(frozen=True, slots=True)
class DispatchMethod:
    """A method.

    Attributes:
        choose: Returns the names of the operations to quantize, given those that can be.
        rule: What it quantizes, for people.
        reason: Why an operation that it leaves out stays float.
    """

    choose: Choose
    rule: str
    reason: str


def _compute(graph: Graph, target: Target, able: Set[str]) -> set[str]:
    return {op.name for op in graph.operations if op.name in able and _is_compute(target, op)}


def _is_compute(target: Target, op: Operation) -> bool:
    rule = target.rule(op.kind)
    return rule is not None and rule.role == "compute"


def _conservative(graph: Graph, target: Target, able: Set[str]) -> set[str]:
    return _downstream(graph, _compute(graph, target, able), able)


def _downstream(graph: Graph, starts: Set[str], among: Set[str]) -> set[str]:
    """Return `starts`, and those operations that follow them through operations of `among`."""
    chosen: set[str] = set()
    for op in graph.operations:
        if op.name in among:
            sources = (graph.producers.get(name) for name in op.inputs)
            follows = any(source is not None and source.name in chosen for source in sources)
            if follows or op.name in starts:
                chosen.add(op.name)
    return chosen


def _upstream(graph: Graph, starts: Set[str], among: Set[str]) -> set[str]:
    """Return `starts`, and those operations that they follow through operations of `among`."""
    chosen: set[str] = set()
    for op in reversed(graph.operations):
        if op.name in among:
            readers = (reader for out in op.outputs for reader, _ in graph.uses(out))
            if op.name in starts or any(reader.name in chosen for reader in readers):
                chosen.add(op.name)
    return chosen


def _aggressive(graph: Graph, target: Target, able: Set[str]) -> set[str]:
    starts = _compute(graph, target, able)
    made = [out for op in graph.operations if op.name in starts for out in op.outputs if out]
    behind = reached_operations(graph, made, lambda name: graph.values[name].is_real)
    return (starts | behind) & able


def _pplnn(graph: Graph, target: Target, able: Set[str]) -> set[str]:
    starts = _compute(graph, target, able)
    between = _downstream(graph, starts, able) & _upstream(graph, starts, able)
    for first, then in fused_pairs(graph, target):
        if first in between and then in able:
            between.add(then)
    return between


def _perseus(graph: Graph, target: Target, able: Set[str]) -> set[str]:
    starts = _compute(graph, target, able)
    read = {
        name
        for op in graph.operations
        if op.name in starts
        for name in op.inputs
        if name and not graph.is_parameter(name)
    }
    values = reached_operations(graph, read, lambda name: graph.values[name].is_real)
    return (values & able) - shape_or_index_operations(graph)


_NOT_BEHIND = "there is no compute operation before it"
METHODS: dict[str, DispatchMethod] = {
    "conservative": DispatchMethod(
        _conservative,
        "compute operations, and what follows them through quantized operations", _NOT_BEHIND,
    ),
    "aggressive": DispatchMethod(
        _aggressive,
        "compute operations, and everything behind them, through operations that stay float, too",
        _NOT_BEHIND,
    ),
    "pplnn": DispatchMethod(
        _pplnn,
        "compute operations, what runs fused with them, and what lies between two of them",
        "it does not lie between two compute operations",
    ),
    "pointwise": DispatchMethod(
        _compute, "compute operations alone", "it is no compute operation"
    ),
    "perseus": DispatchMethod(
        _perseus,
        "what the values that compute operations read flow into, but nothing that shapes or "
        "indices flow into",
        "no value that a compute operation reads flows into it, or shapes or indices do",
    ),
    "all-in": DispatchMethod(
        lambda _graph, _target, able: set(able), "every operation that the target knows",
        "the target does not know it",
    ),
}  # fmt: skip
"""By name."""
