"""Which graphs treat every sample of a batch alone, so that a batch may be cut into parts.

The proof is by operation: a value carries samples if its first axis counts them, and each rule says
when outputs carry samples of which each depends on the same sample of the inputs only. A kind
without a rule that sees samples ends the proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantable.ir import Container, Dim, Graph, Operation, QuantableOperation, Shape


@dataclass(frozen=True, slots=True)
class Place:
    """An operation and what is known of its inputs.

    Attributes:
        graph: The graph.
        operation: The operation.
        carried: Whether each input slot carries samples.
    """

    graph: Graph
    operation: Operation
    carried: tuple[bool, ...]

    def shape(self, slot: int) -> Shape | None:
        """Return the shape of an input, None where it is not known or the slot is absent."""
        inputs = self.operation.inputs
        if slot >= len(inputs) or not inputs[slot]:
            return None
        return self.graph.values[inputs[slot]].shape

    def integers(self, slot: int, attribute: str) -> tuple[int, ...] | None:
        """Return the integers of an attribute or of a constant input, None for neither."""
        op = self.operation
        if attribute in op.attributes:
            return op.ints_attribute(attribute)
        if slot >= len(op.inputs) or op.inputs[slot] not in self.graph.parameters:
            return None
        return tuple(int(n) for n in self.graph.array(op.inputs[slot]).reshape(-1))


Rule = Callable[[Place], bool]


def _first(place: Place) -> bool:
    """Return whether the first input alone carries samples."""
    return place.carried[0] and not any(place.carried[1:])


def _broadcast(place: Place) -> bool:
    shapes = [place.shape(slot) for slot, name in enumerate(place.operation.inputs) if name]
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes):
        return False
    rank = max(len(shape) for shape in known)
    carried = [c for c, name in zip(place.carried, place.operation.inputs, strict=True) if name]
    return all(
        len(shape) == rank if has_samples else len(shape) < rank or shape[0] == 1
        for shape, has_samples in zip(known, carried, strict=True)
    )


def _matrix_product(place: Place) -> bool:
    left, right = place.shape(0), place.shape(1)
    if left is None or right is None:
        return False
    if place.carried == (True, False):
        return len(right) == 2 and len(left) >= 2
    if place.carried == (False, True):
        return len(right) >= 3 and len(left) == 2
    return len(left) == len(right) >= 3


def _gemm(place: Place) -> bool:
    bias = place.shape(2)
    is_free = bias is None or len(bias) < 2 or bias[0] == 1
    return _first(place) and not place.operation.int_attribute("transA") and is_free


def _linear(place: Place) -> bool:
    shape = place.shape(0)
    return _first(place) and shape is not None and len(shape) >= 2


def _axis(default: int) -> Rule:
    def rule(place: Place) -> bool:
        axis = place.operation.int_attribute("axis", default)
        shape = place.shape(0)
        return _first(place) and bool(shape) and axis % len(shape or (0,)) != 0

    return rule


def _concat(place: Place) -> bool:
    axis, shape = place.operation.int_attribute("axis"), place.shape(0)
    return all(place.carried) and bool(shape) and axis % len(shape or (0,)) != 0


def _transpose(place: Place) -> bool:
    return place.operation.ints_attribute("perm")[:1] == (0,)


def _reshape(place: Place) -> bool:
    source, target = place.shape(0), place.integers(1, "shape")
    if not _first(place) or not target or source is None:
        return False
    if target[0] == 0:
        return not place.operation.int_attribute("allowzero")
    inner = [dim for dim in source[1:] if isinstance(dim, int)]
    is_known = len(inner) == len(source) - 1 and all(dim > 0 for dim in target[1:])
    return target[0] == -1 and is_known and math.prod(inner) == math.prod(target[1:])


def _flatten(place: Place) -> bool:
    return place.operation.int_attribute("axis", 1) == 1


def _axes(slot: int, more: bool = False) -> Rule:
    """Return the rule of axes in an attribute or an input, which must leave out the first.

    Args:
        slot: The input that may hold them.
        more: Whether they count in the output, which has as many axes more.
    """

    def rule(place: Place) -> bool:
        axes, shape = place.integers(slot, "axes"), place.shape(0)
        if not _first(place) or not axes or shape is None:
            return False
        rank = len(shape) + (len(axes) if more else 0)
        return all(axis % rank != 0 for axis in axes)

    return rule


def _pad(place: Place) -> bool:
    pads, shape = place.integers(1, "pads"), place.shape(0)
    if not _first(place) or pads is None or shape is None or place.shape(3) is not None:
        return False
    return pads[0] == 0 and pads[len(shape)] == 0


def _gather(place: Place) -> bool:
    axis, shape = place.operation.int_attribute("axis"), place.shape(0)
    if not shape:
        return False
    # Rows of a table that is the same for all samples, or part of each sample.
    return axis % len(shape) == 0 if place.carried == (False, True) else _first(place) and (
        axis % len(shape) != 0
    )  # fmt: skip


RULES: Mapping[str, Rule] = {
    **dict.fromkeys((
        "Abs", "AveragePool", "BatchNormalization", "Cast", "Celu", "Conv", "ConvTranspose",
        "DepthToSpace", "Elu", "Erf", "Exp", "Gelu", "GlobalAveragePool", "GlobalMaxPool",
        "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log",
        "MaxPool", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign",
        "SpaceToDepth", "Sqrt", "Swish", "Tanh", "com.microsoft.Gelu",
    ), _first),
    **dict.fromkeys(
        ("Add", "Clip", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where"),
        _broadcast,
    ),
    **dict.fromkeys(("LayerNormalization", "LogSoftmax", "RMSNormalization", "Softmax"), _axis(-1)),
    **dict.fromkeys(
        ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Squeeze"), _axes(1)
    ),
    "Concat": _concat,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _axes(3),
    "Split": _axis(0),
    "Transpose": _transpose,
    "Unsqueeze": _axes(1, more=True),
    "quantable.Linear": _linear,
}  # fmt: skip
"""By kind of operation, when it treats every sample alone; asked where an input carries samples."""


def batch_of(graph: Graph) -> Dim | None:
    """Return the first dimension that all inputs have, None where they have none in common."""
    shapes = [graph.values[name].shape for name in graph.inputs]
    if not all(graph.values[name].container is Container.TENSOR for name in graph.inputs):
        return None
    firsts = {shape[0] if shape else None for shape in shapes}
    return firsts.pop() if len(firsts) == 1 else None


def sample_values(graph: Graph) -> frozenset[str] | None:
    """Return the values that carry samples; None where samples may see each other.

    Args:
        graph: Its inputs carry samples. A shape that holds the batch as a constant is freed first
            (see `with_free_batch`).
    """
    carried = set(graph.inputs)
    for op in graph.operations:
        slots = tuple(name in carried for name in op.inputs)
        if not any(slots):
            continue
        rule = RULES.get(op.kind)
        is_single = len(list(filter(None, op.outputs))) == 1 or op.kind == "Split"
        if rule is None or not is_single or not rule(Place(graph, op, slots)):
            return None
        if isinstance(op, QuantableOperation) and not _is_static(graph, op, carried):
            return None
        carried.update(name for name in op.outputs if name)
    return frozenset(carried) if carried.issuperset(graph.outputs) else None


def _is_static(graph: Graph, op: QuantableOperation, carried: set[str]) -> bool:
    """Whether no slot has a scale that comes from the batch or one for each of its samples."""
    for side, index, config in op.config.slots():
        names = op.inputs if side == "in" else op.outputs
        shape = graph.values[names[index]].shape if names[index] else None
        is_sample = side == "out" or names[index] in carried
        if config.policy.dynamic:
            return False
        axis = config.channel_axis
        if is_sample and axis is not None and (not shape or axis % len(shape) == 0):
            return False
    return True
