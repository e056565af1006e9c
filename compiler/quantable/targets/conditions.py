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


def _constant_or_given_indices(graph: Graph, operation: Operation) -> bool:
    indices = operation.inputs[1]
    is_table = graph.is_parameter(operation.inputs[0])
    return graph.is_parameter(indices) or (is_table and indices in graph.inputs)


def _given_integers(graph: Graph, operation: Operation) -> bool:
    return (
        operation.inputs[0] in graph.inputs and graph.values[operation.inputs[0]].dtype.is_integer
    )


def _one_activation(graph: Graph, operation: Operation) -> bool:
    sizes = [
        graph.parameters[name].element_count if graph.is_parameter(name) else 0
        for name in operation.inputs
        if name
    ]
    return sizes.count(0) == 1 and all(size <= 1 for size in sizes)


def _known_rank(graph: Graph, operation: Operation) -> bool:
    return graph.shape(operation.inputs[0]) is not None


def _known_spatial_dims(graph: Graph, operation: Operation) -> bool:
    shape = graph.shape(operation.inputs[0])
    return shape is not None and all(isinstance(dim, int) for dim in shape[2:])


def _few_spatial_dims(graph: Graph, operation: Operation) -> bool:
    shape = graph.shape(operation.inputs[0])
    is_known = _known_spatial_dims(graph, operation)
    return shape is not None and len(shape) in (3, 4) and is_known


def _last_axis(graph: Graph, operation: Operation) -> bool:
    axis = operation.int_attribute("axis", -1)
    shape = graph.shape(operation.inputs[0])
    return axis == -1 or (shape is not None and axis == len(shape) - 1)


def _known_last_dim(graph: Graph, operation: Operation) -> bool:
    shape = graph.shape(operation.inputs[0])
    return shape is not None and shape != () and isinstance(shape[-1], int)


def _countable_padding(graph: Graph, operation: Operation) -> bool:
    del graph
    both = ("ceil_mode", "count_include_pad")
    return not all(operation.int_attribute(name) for name in both)


def _constant_padding(graph: Graph, operation: Operation) -> bool:
    del graph
    return operation.string_attribute("mode", "constant") == "constant"


def _separable_resize(graph: Graph, operation: Operation) -> bool:
    del graph
    mode = operation.string_attribute("mode", "nearest")
    place = operation.string_attribute("coordinate_transformation_mode", "half_pixel")
    is_known = place in ("half_pixel", "pytorch_half_pixel", "asymmetric")
    policy = operation.string_attribute("keep_aspect_ratio_policy", "stretch")
    is_plain = not operation.int_attribute("antialias") and policy == "stretch"
    return is_plain and (mode == "nearest" or (mode == "linear" and is_known))


def _one_output(graph: Graph, operation: Operation) -> bool:
    del graph
    return not any(operation.outputs[1:])


def _never(graph: Graph, operation: Operation) -> bool:
    del graph, operation
    return False


_FOLD = "make it an initializer of the model, or fold the operations that compute it"
_SHAPES = "give the model fixed input shapes, and run fold-shapes"
CONDITIONS: dict[str, Condition] = {
    "constant-weight": Condition(_constant_rest, "weight and bias are constants", _FOLD),
    "constant-bounds": Condition(_constant_rest, "its bounds are constants", _FOLD),
    "constant-scale": Condition(_constant_rest, "its scale and bias are constants", _FOLD),
    "constant-parameters": Condition(
        _constant_rest, "all inputs but the first are constants", _FOLD
    ),
    "constant-or-given-indices": Condition(
        _constant_or_given_indices,
        "its indices are constants, or an input of the network into a table of constants", _FOLD,
    ),
    "given-integers": Condition(
        _given_integers, "it makes real numbers of integers that are an input of the network",
        "make what it reads an input, or cast it outside of the network",
    ),
    "one-or-two-spatial-dims": Condition(
        _few_spatial_dims, "its input has one or two spatial dimensions of known size", _SHAPES
    ),
    "known-spatial-dims": Condition(
        _known_spatial_dims, "its input has spatial dimensions of known size", _SHAPES
    ),
    "known-rank": Condition(_known_rank, "its input has a known rank", _SHAPES),
    "known-last-dim": Condition(_known_last_dim, "the last dimension is known", _SHAPES),
    "countable-padding": Condition(
        _countable_padding, "ceil_mode and count_include_pad are not both set",
        "pad by an operation of its own before",
    ),
    "constant-padding": Condition(
        _constant_padding, "it pads with a constant", "set the mode to 'constant'"
    ),
    "separable-resize": Condition(
        _separable_resize, "it takes the nearest pixel, or is linear with coordinates that repeat "
        "(half_pixel, pytorch_half_pixel, asymmetric), without antialias and aspect ratio policy",
        "resize with mode 'nearest', or with align_corners=False",
    ),
    "function-of-one": Condition(
        _one_activation, "one input is a tensor and the others are constants of one element",
        "only Add, Sub, Mul and MatMul take two tensors",
    ),
    "last-axis": Condition(
        _last_axis, "it works along the last axis", "transpose the tensor before and after"
    ),
    "float-multiplier": Condition(
        _never, "the target multiplies accumulators by floats (these have more than 32 bits)",
        "choose a target whose arithmetic is 'float32-rne', for instance c-portable",
    ),
    "one-output": Condition(_one_output, "only its first output is used", "drop the other outputs"),
}  # fmt: skip
"""Every condition by name."""
