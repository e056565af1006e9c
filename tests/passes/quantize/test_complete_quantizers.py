"""Tensors that a quantized model leaves real get rows; what it has stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantable.driver import api
from quantable.ir import (
    Graph,
    Level,
    QuantizationParameters,
    Relation,
    State,
    UnsupportedError,
    verify,
)
from quantable.passes.base import PassContext, run_passes
from quantable.passes.quantize.adopted_rows import is_adopted
from quantable.passes.quantize.complete_quantizers import CompleteQuantizers
from quantable.passes.quantize.fuse_overlaps import FuseOverlaps
from quantable.passes.quantize.integer_rows import missing_rows
from quantable.passes.quantize.simplify_overlaps import SimplifyOverlaps
from quantable.reference import ReferenceRuntime
from quantable.targets.description import load_target
from tests.passes.quantize.adopting import CONSTANTS, OVERLAPPED, OWN, SHARED, Adopt, Remarks, slot
from tests.passes.quantize.random_quantized import inputs, models

QUIET = settings(deadline=None, database=None, derandomize=True,
                 suppress_health_check=list(HealthCheck))  # fmt: skip
TARGET = "c-portable"
WAITING = State.INITIAL, Relation.OWN


def _completed(graph: Graph, remarks: Remarks | None = None, target: str = TARGET) -> Graph:
    context = PassContext(target=load_target(target))
    made = run_passes(graph, [CompleteQuantizers(), FuseOverlaps(), SimplifyOverlaps()], context)
    if remarks is not None:
        remarks += [entry for entry in context.remarks if entry[0] == CompleteQuantizers.name]
    verify(made)
    return made


SUM = f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    [a] a = Neg (xd)
    [b] b = Add (a, xd)
    q = QuantizeLinear (b, t, y0)
    y = DequantizeLinear (q, t, y0)
}}"""


def test_a_tensor_between_quantized_ones_gets_one_row(adopt: Adopt) -> None:
    remarks: Remarks = []
    graph = _completed(adopt(SUM, target=TARGET, partial=True), remarks)
    assert slot(graph, "a", "out", 0) == (*WAITING, "a.out0")
    assert slot(graph, "b", "in", 0) == (*OVERLAPPED, "a.out0")
    assert slot(graph, "b", "in", 1) == (*SHARED, "a.in0")
    assert slot(graph, "b", "out", 0) == (*OWN, "b.out0")
    assert [row.id for row in graph.rows.values() if not row.is_filled] == ["a.out0"]
    place = "operation 'a' (Neg from a) out0"
    assert remarks == [("complete-quantizers", place, "the model does not quantize 'a'")]


def test_it_is_done_once(adopt: Adopt) -> None:
    graph = _completed(adopt(SUM, target=TARGET, partial=True))
    remarks: Remarks = []
    again = _completed(graph, remarks)
    assert (again.operations, again.rows, remarks) == (graph.operations, graph.rows, [])


def test_a_target_that_leaves_tensors_real_has_nothing_to_do(adopt: Adopt) -> None:
    given, remarks = adopt(SUM), []
    made = _completed(given, remarks, "onnxruntime")
    assert made.operations == given.operations
    assert "leaves tensors real" in remarks[0][2]


def test_a_reader_that_the_model_gave_a_row_quantizes_again(adopt: Adopt) -> None:
    """The other reader wants the tensor as it was made: the row may cut off what it needs."""
    graph = _completed(adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [a] a = Neg (xd)
        q = QuantizeLinear (a, s, z)
        d = DequantizeLinear (q, s, z)
        [b] b = Add (a, d)
        r = QuantizeLinear (b, s, z)
        y = DequantizeLinear (r, s, z)
    }}""", target=TARGET, partial=True))  # fmt: skip
    assert slot(graph, "a", "out", 0) == (*WAITING, "a.out0")
    assert slot(graph, "b", "in", 0) == (*OVERLAPPED, "a.out0")
    assert slot(graph, "b", "in", 1) == (*OWN, "b.in1")


def test_a_passive_output_stays_on_the_grid_of_its_input(adopt: Adopt) -> None:
    graph = _completed(adopt(
        f"""g (float[1,1,2,2] x) => (float[1,1,4,4] y)
        <{CONSTANTS}, float[4] scales = {{1, 1, 2, 2}}> {{
        xq = QuantizeLinear (x, t, y0)
        xd = DequantizeLinear (xq, t, y0)
        [r] r = Resize <mode = "linear"> (xd, , scales)
        [n] n = Neg (r)
        q = QuantizeLinear (n, s, z)
        y = DequantizeLinear (q, s, z)
    }}""", target=TARGET, canonical=True, partial=True))  # fmt: skip
    assert slot(graph, "r", "out", 0) == (*OVERLAPPED, slot(graph, "r", "in", 0)[2])
    assert all(row.is_filled for row in graph.rows.values())


def test_inside_a_fusion_nothing_is_quantized_that_the_model_does_not_quantize(
    adopt: Adopt,
) -> None:
    text = """g (float[1,1,3,3] x) => (float[1,1,3,3] y)
        <float s = {0.5}, uint8 z = {128}, float ws = {0.25}, int8[1,1,1,1] w = {7}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        wd = DequantizeLinear (w, ws)
        [c] c = Conv (xd, wd)
        [r] y = Relu (BEHIND)
    }"""
    plain = _completed(adopt(text.replace("BEHIND", "c"), target=TARGET, partial=True))
    assert slot(plain, "r", "out", 0) == (*WAITING, "r.out0")
    assert slot(plain, "c", "out", 0) == (*OVERLAPPED, "r.out0")
    pair = "cq = QuantizeLinear (c, s, z)\n cd = DequantizeLinear (cq, s, z)\n [r] y = Relu (cd)"
    inner = text.replace("[r] y = Relu (BEHIND)", pair)
    kept = _completed(adopt(inner, target=TARGET, partial=True))
    assert slot(kept, "c", "out", 0) == (*OWN, "c.out0")
    assert slot(kept, "r", "in", 0) == (*OVERLAPPED, "c.out0")
    assert slot(kept, "r", "out", 0) == (*WAITING, "r.out0")


def test_real_weights_and_biases_get_rows(adopt: Adopt) -> None:
    graph = _completed(adopt("""g (float[1,1,3,3] x) => (float[1,1,3,3] y)
        <float s = {0.5}, uint8 z = {128}, float[1,1,1,1] w = {7}, float[1] b = {3}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [c] c = Conv (xd, w, b)
        q = QuantizeLinear (c, s, z)
        y = DequantizeLinear (q, s, z)
    }""", target=TARGET, partial=True))  # fmt: skip
    assert slot(graph, "c", "in", 1) == (*WAITING, "c.in1")
    assert slot(graph, "c", "in", 2) == (State.PASSIVE_INIT, Relation.DERIVED, "c.in2")
    assert graph.rows["c.in2"].derived_from == ("c.in0", "c.in1")
    assert slot(graph, "c", "out", 0) == (*OWN, "c.out0")


def _owners(graph: Graph) -> dict[tuple[str, str, int], QuantizationParameters]:
    """Return the rows of the model by the slot that owns them."""
    return {
        (op.name, side, index): graph.rows[config.row]
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
        if config.relation is Relation.OWN and is_adopted(graph.rows[config.row])
    }


def _check(model: onnx.ModelProto, seed: int, path: Path) -> None:
    onnx.save(model, path)
    canonical = api.canonicalize(api.import_model(path))
    target = load_target(TARGET)
    try:
        adopted = api.optimize(canonical, "adopt-quantizers{partial=true}", target=TARGET)
    except UnsupportedError:
        assume(False)
    completed = _completed(adopted)
    assert _owners(completed) == _owners(adopted)
    assert not any(missing_rows(completed, op, target) for op in completed.quantable_operations)
    # What is new is not in force: the results are those of the model still.
    expected = ReferenceRuntime(canonical).run(inputs(seed))
    found = ReferenceRuntime(completed).run(inputs(seed))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    profile = api.observe(canonical, [inputs(one) for one in range(seed, seed + 3)])
    calibrated = api.calibrate(completed, profile)
    assert _owners(calibrated) == _owners(adopted)
    lowered = api.lower(api.refine(calibrated))
    assert lowered.level is Level.INTEGER


@settings(QUIET, max_examples=12)
@given(model=models(), seed=st.integers(0, 99))
def test_no_row_of_a_model_changes(
    model: onnx.ModelProto, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _check(model, seed, tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.mark.fuzz
@settings(QUIET, max_examples=400)
@given(model=models(), seed=st.integers(0, 99))
def test_no_row_of_many_models_changes(
    model: onnx.ModelProto, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _check(model, seed, tmp_path_factory.mktemp("model") / "model.onnx")
