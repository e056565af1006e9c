"""Differences between two runtimes get the right cause: planted ones, each of a known kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from quantable.adapters.difference import TIE_DISTANCE, Cause, DifferenceReport, compare
from quantable.ir import (
    DType,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    State,
    Symmetry,
    TensorQuantizationConfig,
    Value,
    verify,
)

SCALE = 0.5
Arrays = dict[str, np.ndarray]


class Recorded:
    """A runtime that returns what it was given, and refuses names that it does not have."""

    def __init__(self, *samples: Arrays) -> None:
        self._samples = iter(samples)

    def run(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        values = next(self._samples)
        return {name: values[name] for name in outputs or values}


@pytest.fixture
def graph() -> Graph:
    """x -> Relu -> y, quantized -> Neg -> z, float: one quantizer and a float tail."""
    free = TensorQuantizationConfig()
    slot = TensorQuantizationConfig(
        QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC), 8, 0, 0, 255,
        state=State.ACTIVATED, relation=Relation.OWN, row="y",
    )  # fmt: skip
    relu = QuantableOperation.create(
        Operation("relu", "Relu", ("x",), ("y",)),
        OperationQuantizationConfig((free,), (slot,)), "test", {},
    )  # fmt: skip
    made = Graph(
        "planted", Level.QUANTABLE, 21, ("x",), ("z",),
        {name: Value(name, DType.FLOAT32, (4,)) for name in "xyz"},
        (relu, Operation("neg", "Neg", ("y",), ("z",))),
        rows={"y": QuantizationParameters("y", (SCALE,), (0,))},
    )  # fmt: skip
    verify(made)
    return made


def _sample(steps: Sequence[float], *, tail: float = 0.0) -> Arrays:
    """Return the values of a runtime whose Relu gave some numbers of quantization steps."""
    real = np.asarray(steps, np.float32) * np.float32(SCALE)
    y = np.rint(real / np.float32(SCALE)) * np.float32(SCALE)
    return {"y": y, "y_real": real, "z": -y + np.float32(tail)}


def _compare(graph: Graph, ours: list[Arrays], theirs: list[Arrays]) -> DifferenceReport:
    inputs = [{"x": np.zeros(4, np.float32)}] * len(ours)
    return compare(graph, Recorded(*ours), Recorded(*theirs), {"y": "y_real"}, inputs)


def test_equal_runtimes_have_no_cause(graph: Graph) -> None:
    report = _compare(graph, [_sample([0, 1, 2, 3])], [_sample([0, 1, 2, 3])])
    assert report.causes == {Cause.NONE: 1}
    assert (report.elements, report.differing, report.quantized) == (4, 0, 4)
    assert report.first == []
    assert report.is_explained


def test_two_sides_of_a_tie(graph: Graph) -> None:
    near = TIE_DISTANCE / 2
    report = _compare(graph, [_sample([0, 1.5 - near, 2, 3])], [_sample([0, 1.5 + near, 2, 3])])
    assert report.causes == {Cause.ROUNDING_AT_TIE: 1}
    assert (report.differing, report.quantized_differing, report.largest) == (1, 1, SCALE)
    (first,) = report.first
    assert (first.value, first.element, first.ours, first.theirs) == ("y", (1,), 0.5, 1.0)
    assert first.tie_distance == pytest.approx(near)
    assert first.operation == "operation 'relu' (Relu)"


def test_a_step_away_from_a_tie_is_unexplained(graph: Graph) -> None:
    report = _compare(graph, [_sample([0, 1.2, 2, 3])], [_sample([0, 1.8, 2, 3])])
    assert report.causes == {Cause.OTHER: 1}
    assert not report.is_explained


def test_the_steps_of_more_bits_are_smaller_beside_the_same_rounding(graph: Graph) -> None:
    near = TIE_DISTANCE * 100
    ours, theirs = [_sample([0, 1.5 - near, 2, 3])], [_sample([0, 1.5 + near, 2, 3])]
    assert _compare(graph, ours, theirs).causes == {Cause.OTHER: 1}
    op = graph.quantable_operations[0]
    wide = replace(op.config.outputs[0], bits=16, quant_max=65535)
    finer = graph.with_operation(op.with_slot("out", 0, wide))
    assert _compare(finer, ours, theirs).causes == {Cause.ROUNDING_AT_TIE: 1}


def test_two_steps_are_unexplained_even_at_a_tie(graph: Graph) -> None:
    theirs = _sample([0, 3.5 + TIE_DISTANCE / 2, 2, 3])
    report = _compare(graph, [_sample([0, 2.5 - TIE_DISTANCE / 2, 2, 3])], [theirs])
    assert report.causes == {Cause.OTHER: 1}


def test_the_worst_element_decides(graph: Graph) -> None:
    near = TIE_DISTANCE / 2
    ours, theirs = _sample([0, 1.5 - near, 2, 3.2]), _sample([0, 1.5 + near, 2, 3.8])
    report = _compare(graph, [ours], [theirs])
    assert report.causes == {Cause.OTHER: 1}
    assert report.first[0].element == (3,)


def test_a_consumer_that_quantizes(graph: Graph) -> None:
    """An input slot has its own quantizer: the float value before it may differ by rounding."""
    near = TIE_DISTANCE / 2
    slot = graph.quantable_operations[0].config.outputs[0]
    reader = QuantableOperation.create(
        Operation("abs", "Abs", ("z",), ("a",)),
        OperationQuantizationConfig((replace(slot, row="z"),), (TensorQuantizationConfig(),)),
        "test", {},
    )  # fmt: skip
    longer = replace(
        graph, operations=(*graph.operations, reader), outputs=("a",),
        values={**graph.values, "a": Value("a", DType.FLOAT32, (4,))},
        rows={**graph.rows, "z": QuantizationParameters("z", (SCALE,), (0,))},
    )  # fmt: skip
    verify(longer)

    def sample(third: float) -> Arrays:
        z = np.array([0, SCALE, third * SCALE, SCALE], np.float32)
        y = np.zeros(4, np.float32)
        return {"y": y, "y_real": y, "z": z, "a": np.rint(z / SCALE).astype(np.float32)}

    report = _compare(longer, [sample(1.5 - near)], [sample(1.5 + near)])
    assert report.causes == {Cause.ROUNDING_AT_TIE: 1}
    assert report.first[0].operation == "operation 'abs' (Abs) in0"
    assert (report.first[0].value, report.first[0].element) == ("z", (2,))
    assert _compare(longer, [sample(1.2)], [sample(1.8)]).causes == {Cause.OTHER: 1}


def test_float_tail_within_rounding(graph: Graph) -> None:
    report = _compare(graph, [_sample([0, 1, 2, 3])], [_sample([0, 1, 2, 3], tail=1e-6)])
    assert report.causes == {Cause.FLOAT_ROUNDING: 1}
    assert (report.quantized_differing, report.beyond_rounding) == (0, 0)
    assert report.differing == 4
    assert report.first[0].tie_distance is None


def test_float_tail_beyond_rounding_is_unexplained(graph: Graph) -> None:
    report = _compare(graph, [_sample([0, 1, 2, 3])], [_sample([0, 1, 2, 3], tail=0.01)])
    assert report.causes == {Cause.OTHER: 1}
    assert report.beyond_rounding == 4


def test_samples_are_counted_by_cause(graph: Graph) -> None:
    same, off = _sample([0, 1, 2, 3]), _sample([0, 1, 2, 3], tail=1e-6)
    report = _compare(graph, [same, same, same], [same, off, off])
    assert report.causes == {Cause.NONE: 1, Cause.FLOAT_ROUNDING: 2}
    facts = report.facts()
    assert facts["samples"] == 3
    assert facts["causes"] == {"equal": 1, "float32 rounding behind the last quantizer": 2}
    assert facts["first"]["sample"] == 1  # type: ignore[index] # a mapping


def test_an_output_of_integers_whose_length_data_decide(graph: Graph) -> None:
    """As NonMaxSuppression makes one: 'validate' raised KeyError for it."""
    picked = Operation("pick", "NonZero", ("y",), ("picked",))
    longer = replace(
        graph, operations=(*graph.operations, picked), outputs=("z", "picked"),
        values={**graph.values, "picked": Value("picked", DType.INT64, (1, "n"))},
    )  # fmt: skip

    def sample(*indices: int) -> Arrays:
        return {**_sample([0, 1, 2, 3]), "picked": np.array([indices], np.int64)}

    assert _compare(longer, [sample(1, 3)], [sample(1, 3)]).causes == {Cause.NONE: 1}
    for other in (sample(1, 2), sample(1), sample()):
        report = _compare(longer, [sample(1, 3)], [other])
        assert report.causes == {Cause.OTHER: 1}
        assert report.first[0].value == "picked"
