"""Which operations treat samples alone: every rule, by running batches and their samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from quantable.ir import (
    DType,
    Granularity,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationPolicy,
    TensorQuantizationConfig,
)
from quantable.reference import ReferenceRuntime
from quantable.reference.free_batch import with_free_batch
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.samples import RULES, batch_of, sample_values

GraphOf = Callable[..., Graph]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One operation: shapes of what carries samples, without them; what does not; attributes."""

    samples: Sequence[tuple[int, ...]] = ((6, 4),)
    held: Mapping[int, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1


def _ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def _reals(*shape: int) -> Array:
    return np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)


PLANE = ((4, 6, 6),)
PLAIN = (
    "Abs", "Celu", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Log", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt",
    "Swish", "Tanh", "com.microsoft.Gelu", "LogSoftmax", "Softmax",
)  # fmt: skip
CASES: dict[str, list[Case]] = {
    **{kind: [Case()] for kind in PLAIN},
    **{kind: [Case(((6, 4), (6, 4))), Case(held={1: _reals(4)}), Case(held={0: _reals(1, 6, 4)})]
       for kind in ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum")},
    "AveragePool": [Case(PLANE, attributes={"kernel_shape": (2, 2)})],
    "BatchNormalization": [Case(PLANE, {k: _reals(4) for k in (1, 2, 3, 4)})],
    "Cast": [Case(attributes={"to": 1})],
    "Clip": [Case(held={1: np.float32(0.7), 2: np.float32(1.2)})],
    "Concat": [Case(((6, 4), (3, 4)), attributes={"axis": 1})],
    "Conv": [Case(PLANE, {1: _reals(5, 4, 3, 3), 2: _reals(5)})],
    "ConvTranspose": [Case(PLANE, {1: _reals(4, 5, 3, 3)})],
    "DepthToSpace": [Case(PLANE, attributes={"blocksize": 2})],
    "Flatten": [Case(PLANE)],
    "Gather": [Case(held={1: _ints(2, 0)}, attributes={"axis": 1}),
               Case(((3,),), {0: _reals(9, 2)})],
    "Gemm": [Case(((4,),), {1: _reals(4, 3), 2: _reals(3)})],
    "GlobalAveragePool": [Case(PLANE)],
    "GlobalMaxPool": [Case(PLANE)],
    "InstanceNormalization": [Case(PLANE, {1: _reals(4), 2: _reals(4)})],
    "LRN": [Case(PLANE, attributes={"size": 3})],
    "LayerNormalization": [Case(held={1: _reals(4), 2: _reals(4)})],
    "MatMul": [Case(held={1: _reals(4, 3)}), Case(((6, 4), (4, 3))), Case(held={0: _reals(5, 6)})],
    "MaxPool": [Case(PLANE, attributes={"kernel_shape": (2, 2)})],
    "PRelu": [Case(held={1: _reals(4)})],
    "Pad": [Case(held={1: _ints(0, 1, 2, 0, 0, 1)})],
    "RMSNormalization": [Case(held={1: _reals(4)})],
    **{kind: [Case(held={1: _ints(2)}), Case(held={1: _ints(-2)}, attributes={"keepdims": 0})]
       for kind in ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")},
    "Reshape": [Case(held={1: _ints(0, 3, 8)}), Case(held={1: _ints(-1, 24)})],
    "Slice": [Case(held={1: _ints(1), 2: _ints(5), 3: _ints(1), 4: _ints(2)})],
    "SpaceToDepth": [Case(PLANE, attributes={"blocksize": 2})],
    "Split": [Case(attributes={"axis": 1, "num_outputs": 2}, outputs=2)],
    "Squeeze": [Case(((1, 4),), {1: _ints(1)})],
    "Transpose": [Case(attributes={"perm": (0, 2, 1)})],
    "Unsqueeze": [Case(held={1: _ints(1, -1)})],
    "Where": [Case(((6, 4), (6, 4)), {0: np.array([True, False, True, True])})],
    "quantable.Linear": [Case(held={1: _reals(4, 3), 2: _reals(3)})],
}  # fmt: skip
REFUSED: list[tuple[str, Case]] = [
    ("Add", Case(held={1: _reals(8, 6, 4)})),
    ("Add", Case(((4,), (6, 4)))),
    ("Concat", Case(((6, 4), (6, 4)), attributes={"axis": 0})),
    ("CumSum", Case(held={1: np.int64(0)})),
    ("Flatten", Case(attributes={"axis": 2})),
    ("Gather", Case(held={1: _ints(0, 1)})),
    ("Gemm", Case(((8,),), {1: _reals(8, 3)}, {"transA": 1})),
    ("Gemm", Case(((4,),), {1: _reals(4, 3), 2: _reals(8, 3)})),
    ("LayerNormalization", Case(held={1: _reals(8, 6, 4)}, attributes={"axis": 0})),
    ("MatMul", Case(((8,), (8,)))),
    ("MaxPool", Case(PLANE, attributes={"kernel_shape": (2, 2)}, outputs=2)),
    ("Pad", Case(held={1: _ints(1, 0, 0, 0, 0, 0)})),
    ("ReduceSum", Case(held={1: _ints(-3)})),
    ("ReduceSum", Case()),
    ("Reshape", Case(held={1: _ints(-1, 4)})),
    ("Shape", Case()),
    ("Slice", Case(held={1: _ints(1), 2: _ints(5)})),
    ("Softmax", Case(attributes={"axis": 0})),
    ("Split", Case(attributes={"num_outputs": 2}, outputs=2)),
    ("Transpose", Case()),
    ("Transpose", Case(attributes={"perm": (1, 0, 2)})),
    ("Unsqueeze", Case(held={1: _ints(0)})),
]
COUNT = 8


def _graph(graph_of: GraphOf, kind: str, case: Case) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of one operation, for eight samples, and inputs for it."""
    total = len(case.samples) + len(case.held)
    carried = [f"s{slot}" for slot in range(total) if slot not in case.held]
    slots = [f"h{slot}" if slot in case.held else f"s{slot}" for slot in range(total)]
    random = np.random.default_rng(0)
    is_index = kind == "Gather" and 0 in case.held
    feeds: dict[str, Array] = {}
    for name, shape in zip(carried, case.samples, strict=True):
        full = (COUNT, *shape)
        drawn = random.integers(0, 9, full) if is_index else random.uniform(0.1, 2, full)
        feeds[name] = drawn.astype(np.int64 if is_index else np.float32)
    made = [f"y{index}" for index in range(case.outputs)]
    operation = Operation("op", kind, tuple(slots), tuple(made), dict(case.attributes))
    shapes = {n: (DType.of(a.dtype), a.shape) for n, a in feeds.items()}
    held = {f"h{slot}": array for slot, array in case.held.items()}
    graph: Graph = graph_of(
        Level.FLOAT, [operation], shapes, held, dict.fromkeys(made, DType.FLOAT32)
    )
    return graph, feeds


def test_every_rule_has_a_case_and_a_kernel() -> None:
    assert set(CASES) == set(RULES)
    assert set(RULES) <= set(FLOAT_OPERATIONS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_batch_is_its_samples(graph_of: GraphOf, kind: str) -> None:
    for case in CASES[kind]:
        graph, feeds = _graph(graph_of, kind, case)
        free = with_free_batch(graph, COUNT)
        assert sample_values(free) == {*graph.inputs, *graph.outputs}, case
        alone = ReferenceRuntime(free)
        singles = [alone.run({n: a[i : i + 1] for n, a in feeds.items()}) for i in range(COUNT)]
        for threads in (1, 3):
            found = ReferenceRuntime(graph, threads=threads).run(feeds)
            for name, array in found.items():
                expected = np.concatenate([single[name] for single in singles])
                np.testing.assert_allclose(array, expected, 1e-6, 1e-6)


@pytest.mark.parametrize(("kind", "case"), REFUSED, ids=lambda item: str(item)[:40])
def test_samples_that_may_see_each_other_are_not_cut(
    graph_of: GraphOf, kind: str, case: Case
) -> None:
    assert sample_values(_graph(graph_of, kind, case)[0]) is None


def test_a_range_that_comes_from_the_batch_keeps_it_whole(graph_of: GraphOf) -> None:
    graph, _ = _graph(graph_of, "Relu", Case())
    assert sample_values(graph) is not None
    by_sample = replace(QuantizationPolicy(), granularity=Granularity.PER_CHANNEL)
    for config in (
        TensorQuantizationConfig(policy=replace(QuantizationPolicy(), dynamic=True)),
        TensorQuantizationConfig(policy=by_sample, channel_axis=0),
    ):
        both = OperationQuantizationConfig((config,), (config,))
        op = QuantableOperation.create(graph.operations[0], both, "test", graph.parameters)
        assert sample_values(replace(graph.with_operation(op), level=Level.QUANTABLE)) is None


def test_the_batch_is_what_all_inputs_begin_with(graph_of: GraphOf) -> None:
    def graph(*shapes: tuple[int | str, ...]) -> Graph:
        inputs = {f"x{i}": (DType.FLOAT32, shape) for i, shape in enumerate(shapes)}
        op = Operation("op", "Sum", tuple(inputs), ("y",))
        result: Graph = graph_of(Level.FLOAT, [op], inputs, {}, {"y": DType.FLOAT32})
        return result

    assert batch_of(graph((8, 3))) == 8
    assert batch_of(graph(("N", 3), ("N",))) == "N"
    assert batch_of(graph((8, 3), (4, 3))) is None
    assert batch_of(graph(())) is None
