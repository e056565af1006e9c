"""Named conditions that a target may put on operations of a kind: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quantable.ir import Graph, Operation


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on an operation.

    Attributes:
        holds: The test.
        rule: What is expected, for messages.
        help: What the reader can do where it does not hold.
    """

    holds: Callable[[Graph, Operation], bool]
    rule: str
    help: str


def _constant_rest(graph: Graph, operation: Operation) -> bool:
    return all(not name or graph.is_parameter(name) for name in operation.inputs[1:])


def _one_activation(graph: Graph, operation: Operation) -> bool:
    sizes = [
        graph.parameters[name].element_count if graph.is_parameter(name) else 0
        for name in operation.inputs
        if name
    ]
    return sizes.count(0) == 1 and all(size <= 1 for size in sizes)


def _rank(graph: Graph, value: str) -> int | None:
    shape = graph.shape(value)
    return None if shape is None else len(shape)


def _few_spatial_dims(graph: Graph, operation: Operation) -> bool:
    return _rank(graph, operation.inputs[0]) in (3, 4)


def _last_axis(graph: Graph, operation: Operation) -> bool:
    axis = operation.int_attribute("axis", -1)
    rank = _rank(graph, operation.inputs[0])
    return axis == -1 or (rank is not None and axis == rank - 1)


def _one_output(graph: Graph, operation: Operation) -> bool:
    del graph
    return not any(operation.outputs[1:])


_FOLD = "make it an initializer of the model, or fold the operations that compute it"
CONDITIONS: dict[str, Condition] = {
    "constant-weight": Condition(_constant_rest, "weight and bias are constants", _FOLD),
    "constant-bounds": Condition(_constant_rest, "its bounds are constants", _FOLD),
    "constant-scale": Condition(_constant_rest, "its scale and bias are constants", _FOLD),
    "constant-parameters": Condition(
        _constant_rest, "all inputs but the first are constants", _FOLD
    ),
    "one-or-two-spatial-dims": Condition(
        _few_spatial_dims, "its input has one or two spatial dimensions and a known rank",
        "split a 3-d operation, or give the input's shape",
    ),
    "function-of-one": Condition(
        _one_activation, "one input is a tensor and the others are constants of one element",
        "only Add, Sub, Mul and MatMul take two tensors",
    ),
    "last-axis": Condition(
        _last_axis, "it works along the last axis", "transpose the tensor before and after"
    ),
    "one-output": Condition(_one_output, "only its first output is used", "drop the other outputs"),
}  # fmt: skip
"""Every condition by name."""
