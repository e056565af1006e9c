"""Operations on integers, as they are and as real ones between quantizers, and in ONNX Runtime.

Scales are powers of two, so that products are exact and every form gives the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantable.adapters.onnxruntime import OrtModel
from quantable.frontend import import_model
from quantable.ir.standard_operations import standard_operations
from quantable.passes.base import PassContext, run_passes
from quantable.passes.canonicalize.expand_qoperators import ExpandQoperators
from quantable.passes.canonicalize.qoperator_forms import FORMS
from quantable.reference import FloatExecutor, ReferenceRuntime

RNG = np.random.default_rng(11)
MS = "com.microsoft"


def u8(*shape: int, low: int = 0, high: int = 255) -> np.ndarray:
    return RNG.integers(low, high + 1, shape).astype(np.uint8)


def i8(*shape: int) -> np.ndarray:
    return RNG.integers(-20, 21, shape).astype(np.int8)


def f(*numbers: float) -> np.ndarray:
    return np.float32(numbers[0]) if len(numbers) == 1 else np.array(numbers, np.float32)


Z, S = np.uint8(128), f(0.5)


@dataclass(frozen=True)
class Case:
    """An operation: what it is given ('x0', 'x1' are inputs of the network), and its real kind."""

    kind: str
    operands: list[Any]
    inputs: tuple[np.ndarray, ...]
    real: str
    how: dict[str, Any] = field(default_factory=dict)
    tolerance: int = 0

    @property
    def domain(self) -> str:
        return "" if self.kind in ("QLinearConv", "QLinearMatMul") else MS


IMAGE, MATRIX = u8(1, 2, 4, 4), u8(3, 4)
CASES = {
    case.kind + ("" if "biased" not in case.how else " biased"): case
    for case in (
        Case("QLinearConv", ["x0", S, Z, i8(3, 2, 3, 3), f(0.5, 0.25, 1), np.zeros(3, np.int8),
                             f(8), Z, np.array([5, -70, 900], np.int32)], (IMAGE,), "Conv",
             {"pads": [1, 1, 1, 1]}),
        Case("QLinearMatMul", ["x0", S, Z, i8(4, 3), f(0.25), np.int8(1), f(4), Z], (MATRIX,),
             "MatMul"),
        Case("QLinearAdd", ["x0", S, Z, "x1", f(0.25), np.uint8(7), f(1), Z],
             (MATRIX, u8(3, 4)), "Add"),
        Case("QLinearMul", ["x0", S, Z, "x1", f(0.25), np.uint8(7), f(64), Z],
             (MATRIX, u8(3, 4)), "Mul"),
        Case("QLinearConcat", [f(1), Z, "x0", S, Z, "x1", f(0.25), np.uint8(7)],
             (MATRIX, u8(2, 4)), "Concat", {"axis": 0}),
        Case("QLinearAveragePool", ["x0", S, Z, f(0.25), np.uint8(100)], (IMAGE,), "AveragePool",
             {"kernel_shape": [2, 2], "strides": [2, 2]}, 1),
        Case("QLinearGlobalAveragePool", ["x0", S, Z, f(0.25), np.uint8(100)], (IMAGE,),
             "GlobalAveragePool", {"channels_last": 0}, 1),
        Case("QLinearSigmoid", ["x0", f(0.0625), Z, f(2**-8), np.uint8(0)], (MATRIX,), "Sigmoid",
             {}, 1),
        Case("QLinearLeakyRelu", ["x0", S, Z, S, Z], (MATRIX,), "LeakyRelu", {"alpha": 0.25}, 1),
        Case("QLinearSoftmax", ["x0", f(0.0625), Z, f(2**-8), np.uint8(0)], (MATRIX,), "Softmax",
             {"axis": -1, "opset": 13}, 1),
        Case("QLinearWhere", [RNG.integers(0, 2, (3, 4)).astype(bool), "x0", S, Z, "x1", f(0.25),
                              np.uint8(7), f(1), Z], (MATRIX, u8(3, 4)), "Where"),
        Case("QGemm", ["x0", S, Z, i8(3, 4), f(0.25, 0.5, 1), np.zeros(3, np.int8),
                       np.array([40, -900, 3], np.int32), f(8), Z], (MATRIX,), "Gemm",
             {"transB": 1}),
        Case("QuantizeLinear", ["x0", S, Z], (RNG.normal(0, 9, (3, 4)).astype("f4"),),
             "QuantizeLinear"),
        Case("DequantizeLinear", ["x0", S, Z], (MATRIX,), "DequantizeLinear"),
        Case("MatMulNBits", ["x0", u8(3, 2, 8), f(0.5, 0.25, 1, 2, 0.125, 0.5), u8(3)],
             (RNG.integers(-9, 9, (2, 32)).astype("f4"),), "MatMul",
             {"K": 32, "N": 3, "bits": 4, "block_size": 16}),
    )
}  # fmt: skip


def _model(case: Case) -> onnx.ModelProto:
    constants, names = [], []
    for index, operand in enumerate(case.operands):
        if not isinstance(operand, str):
            constants.append(numpy_helper.from_array(np.asarray(operand), f"k{index}"))
        names.append(operand if isinstance(operand, str) else f"k{index}")
    made = np.float32 if case.kind in ("DequantizeLinear", "MatMulNBits") else np.uint8
    node = helper.make_node(case.kind, names, ["y"], "node_quant", domain=case.domain, **case.how)
    ends = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, a in enumerate(case.inputs)
    ]
    out = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(made)), None)
    graph = helper.make_graph([node], "qoperator", ends, [out], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("name", CASES)
def test_the_real_form_gives_the_same_integers(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "model.onnx"
    onnx.save(_model(case), path)
    graph = import_model(path)
    context = PassContext(FloatExecutor())
    made = run_passes(graph, [ExpandQoperators()], context)
    kinds = [op.kind for op in made.operations]
    assert case.real in kinds
    assert not set(kinds) & set(FORMS)
    assert {op.name for op in made.operations if op.kind == case.real} == {"node"}
    fed = {f"x{i}": array for i, array in enumerate(case.inputs)}
    found = ReferenceRuntime(made).run(fed)["y"]
    for other in (ReferenceRuntime(graph).run(fed)["y"], OrtModel(path).run(fed)["y"]):
        assert found.dtype == other.dtype
        gap = np.abs(found.astype(np.float64) - other.astype(np.float64))
        assert gap.max() <= case.tolerance, case.kind


def test_the_table_has_every_operation_with_scales_of_the_standard() -> None:
    with_scales = {
        kind for kind, row in standard_operations().items()
        if row.family == "quantization" and kind.startswith("QLinear")
    }  # fmt: skip
    assert with_scales <= set(FORMS)


def test_every_form_is_tried_here() -> None:
    tried = {(f"{case.domain}." if case.domain else "") + case.kind for case in CASES.values()}
    assert set(FORMS) - tried == {f"{MS}.QLinearConv"}


def test_channels_that_are_last_stay_and_a_remark_says_so(tmp_path: Path) -> None:
    case = CASES["QLinearGlobalAveragePool"]
    path = tmp_path / "model.onnx"
    how = {"channels_last": 1}
    onnx.save(_model(Case(case.kind, case.operands, (u8(1, 4, 4, 2),), case.real, how)), path)
    context = PassContext(FloatExecutor())
    graph = import_model(path)
    assert run_passes(graph, [ExpandQoperators()], context).operations == graph.operations
    assert [text for _, _, text in context.remarks] == ["stays: its channels are last"]
