"""The smallest graph that an oracle still finds interesting.

Delta debugging over operations, outputs, contents, sizes, attributes and words, repeated until
nothing gets smaller. Every candidate obeys every invariant of its level. The result depends on the
graph, the inputs and the oracle alone.
See: IREE's iree-reduce; mlir-reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quantable.driver.reduce.case import Arrays, Bench, Case, Oracle
from quantable.driver.reduce.sizes import smaller_sizes
from quantable.driver.reduce.structure import (
    fewer_attributes,
    fewer_operations,
    fewer_outputs,
    fewer_steps,
    fewer_words,
)
from quantable.driver.reduce.values import simpler_values
from quantable.ir import Graph, OptionError

_STRATEGIES: tuple[Callable[[Bench], None], ...] = (
    fewer_operations, fewer_outputs, fewer_steps, fewer_words, smaller_sizes, simpler_values,
    fewer_attributes,
)  # fmt: skip
"""What makes much smaller comes first: all that follows gets cheaper."""


@dataclass(frozen=True)
class Reduced:
    """The result of a reduction.

    Attributes:
        case: The smallest case that was found.
        calls: How many cases the oracle judged.
    """

    case: Case
    calls: int


def reduce_graph(graph: Graph, oracle: Oracle, inputs: Arrays | None = None) -> Reduced:
    """Find a small graph that is still interesting.

    Args:
        graph: Of any level; interesting.
        oracle: Whether a graph (and its inputs) is interesting; deterministic.
        inputs: One array a graph input, where the fault needs data; reduced along.

    Raises:
        OptionError: The graph is not interesting to begin with.
    """
    bench = Bench(Case(graph, inputs), oracle)
    if not bench.is_interesting(bench.case):
        raise OptionError(
            "the oracle does not find the graph interesting",
            help="the command must exit with 0 for the file itself; try it by hand",
        )
    before = None
    while before != bench.case.key:
        before = bench.case.key
        for strategy in _STRATEGIES:
            strategy(bench)
    return Reduced(bench.case, bench.calls)


def size_facts(graph: Graph) -> dict[str, int]:
    """Return how large a graph is."""
    return {
        "operations": len(graph.operations),
        "inputs": len(graph.inputs),
        "outputs": len(graph.outputs),
        "parameters": len(graph.parameters),
        "parameter_elements": sum(ref.element_count for ref in graph.parameters.values()),
    }
