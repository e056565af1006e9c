"""Bounds of the magnitudes in a float graph, for inputs of bounded magnitude.

A value that has a bound holds finite numbers only, none larger than the bound: no sum or product on
the way to it overflows, whatever the order of the additions. The proof is by operation: each rule
gives the bound of what an operation makes from the bounds of its inputs. A kind without a rule ends
the proof for what follows from it. Errors of float32 sums: N. J. Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from quantable.ir import Container, DType, Graph, Level, Operation
from quantable.reference.operations.elementwise import clamp_bounds
from quantable.reference.site import Item, Site
from quantable.reference.tensors import to_tensor

INPUT = 2.0**16
"""What the magnitudes of the graph's inputs must not exceed."""
LARGEST = 2.0**100
"""A larger bound is none. Far below the largest float32, 2^128, so that neither sums of bounded
values overflow nor what underflow adds, less than 2^-100, matters."""
_TERMS = 1 << 20
"""How many terms a mean may have."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An operation and what is known of its inputs.

    Attributes:
        graph: The graph.
        operation: The operation.
        known: Bounds of values that are no parameters, by name.
    """

    graph: Graph
    operation: Operation
    known: Mapping[str, float]

    def bound(self, slot: int) -> float:
        """Return the bound of an input, infinity where it has none."""
        name = self.operation.inputs[slot]
        if name not in self.graph.parameters:
            return self.known.get(name, math.inf)
        if not _is_real(self.graph, name):
            return math.inf
        largest = float(np.abs(self.graph.array(name)).max(initial=0))
        return math.inf if math.isnan(largest) else largest

    def bounds(self) -> list[float]:
        """Return the bounds of all inputs."""
        return [self.bound(slot) for slot in range(len(self.operation.inputs))]


Rule = Callable[[Seen], float]
"""Returns a bound, infinity (or a number that is none) where there is none."""


def _rounded(bound: float, terms: int) -> float:
    """Return the bound of a float32 sum of rounded products from that of the exact magnitudes."""
    return bound * (1 + terms * 2.0**-23) if terms < 1 << 22 else math.inf


def _convolution(seen: Seen) -> float:
    op, held = seen.operation, seen.graph.parameters
    if any(name and name not in held for name in op.inputs[1:]):
        return math.inf
    weight = np.abs(seen.graph.array(op.inputs[1])).astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 times infinity is no bound, as it should be
        reach = weight.reshape(len(weight), -1).sum(1) * seen.bound(0)
    if len(op.inputs) > 2 and op.inputs[2]:
        reach = reach + np.abs(seen.graph.array(op.inputs[2])).astype(np.float64)
    return _rounded(float(reach.max(initial=0.0)), weight[:1].size + 2)


def _clamp(seen: Seen) -> float:
    op, graph = seen.operation, seen.graph
    held = {slot: name for slot, name in enumerate(op.inputs) if name in graph.parameters}
    constants = {slot: to_tensor(graph.array(name)) for slot, name in held.items()}
    bounds = clamp_bounds(Site(op, graph.opset, constants))
    if bounds is None or any(map(math.isnan, bounds)):
        return math.inf
    low, high = bounds
    # An element may become either end; minus infinity as the low one, or infinity as the high one,
    # is no end.
    ends = [abs(end) for end, none in ((low, -math.inf), (high, math.inf)) if end != none]
    everywhere = max(seen.bound(0), *ends, 0.0)
    return _rounded(min(everywhere, max(ends)) if len(ends) == 2 else everywhere, 1)


def _passed(seen: Seen) -> float:
    return seen.bound(0)


def _saturating(seen: Seen) -> float:
    return 1.0 + 2.0**-20 if math.isfinite(seen.bound(0)) else math.inf


def _sum(seen: Seen) -> float:
    return _rounded(sum(seen.bounds()), len(seen.operation.inputs))


def _product(seen: Seen) -> float:
    return _rounded(math.prod(seen.bounds()), 1)


def _window(seen: Seen) -> float:
    """Return the bound of a pool, each of whose windows sees an element that is no padding."""
    op = seen.operation
    kernel = op.ints_attribute("kernel_shape")
    pads = op.ints_attribute("pads", (0,) * (2 * len(kernel)))
    is_dense = set(op.ints_attribute("dilations", (1,))) == {1}
    reaches = all(pad < extent for pad, extent in zip(pads, (*kernel, *kernel), strict=True))
    terms = math.prod(kernel)
    return _rounded(seen.bound(0), terms) if is_dense and reaches and terms <= _TERMS else math.inf


def _global_mean(seen: Seen) -> float:
    shape = seen.graph.values[seen.operation.inputs[0]].shape or ()
    counts = [dim for dim in shape[2:] if isinstance(dim, int)]
    terms = math.prod(counts)
    is_known = len(counts) == len(shape) - 2 and 0 < terms <= _TERMS
    return _rounded(seen.bound(0), terms) if is_known else math.inf


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Add", "Sub"), _sum),
    **dict.fromkeys(("AveragePool", "MaxPool"), _window),
    **dict.fromkeys(("Clip", "Relu"), _clamp),
    **dict.fromkeys(
        ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"), _passed
    ),
    **dict.fromkeys(("Sigmoid", "Tanh"), _saturating),
    "Concat": lambda seen: max(seen.bounds()),
    "Conv": _convolution,
    "GlobalAveragePool": _global_mean,
    "Mul": _product,
}
"""By kind of operation, the bound of what it makes."""


def magnitudes(graph: Graph) -> dict[str, float]:
    """Return bounds of float32 values, for inputs that `are_bounded`.

    Args:
        graph: Of any level; a graph with simulated quantization has none.
    """
    if graph.level is not Level.FLOAT:
        return {}
    known = {name: INPUT for name in graph.inputs if _is_real(graph, name)}
    for op in graph.operations:
        rule = RULES.get(op.kind)
        bound = math.inf if rule is None else rule(Seen(graph, op, known))
        if bound <= LARGEST:
            known.update((name, bound) for name in op.outputs if name and _is_real(graph, name))
    return known


def _is_real(graph: Graph, name: str) -> bool:
    value = graph.values[name]
    return value.dtype is DType.FLOAT32 and value.container is Container.TENSOR


def are_bounded(graph: Graph, given: Mapping[str, Item]) -> bool:
    """Return whether the inputs of a run are finite and as small as `magnitudes` takes them to be.

    Args:
        graph: The graph.
        given: Its inputs; those of other types than float32 have no bound and need none.
    """
    for name in graph.inputs:
        tensor = given[name]
        if isinstance(tensor, Tensor) and tensor.dtype is torch.float32 and tensor.numel():
            low, high = torch.aminmax(tensor)
            if not (float(low) >= -INPUT and float(high) <= INPUT):  # NaN is in no order
                return False
    return True
