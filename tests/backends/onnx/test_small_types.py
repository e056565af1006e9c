"""Weights of small floats and in blocks, as ONNX files, and what runtimes make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx import emit
from quantable.frontend import import_model
from quantable.ir import (
    Arithmetic,
    Granularity,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    State,
    TensorQuantizationConfig,
    UnsupportedError,
    verify,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.calibrate.weights import WEIGHT_METHODS
from quantable.reference import ReferenceRuntime

FP32 = TensorQuantizationConfig()
RNG = np.random.default_rng(9)
INPUT = RNG.normal(size=(3, 40)).astype(np.float32)


def config(
    granularity: Granularity, bits: int, exponent_bits: int = 0, *, axis: int = 0
) -> TensorQuantizationConfig:
    is_floating = exponent_bits > 0
    arithmetic = Arithmetic.FLOATING if is_floating else Arithmetic.LINEAR
    policy = QuantizationPolicy(granularity, arithmetic, power_of_two=is_floating)
    top = (1 << (bits - 1)) - 1
    return TensorQuantizationConfig(
        policy, bits, exponent_bits, -top - 1, top, channel_axis=axis if policy.has_axis else None,
        state=State.ACTIVATED, relation=Relation.OWN, row="o.in1",
        block_size=16 if policy.is_per_block else 0,
    )  # fmt: skip


def layer(
    plain_graph: Callable[..., Graph], weight: TensorQuantizationConfig, *, conv: bool = False
) -> Graph:
    """Return one operation with a quantized weight of 40 input and 6 output channels, baked."""
    shape, inputs, outputs = (40, 6), ("N", 40), ("N", 6)
    if conv:
        shape, inputs, outputs = (6, 40, 1, 1), ("N", 40, 2, 2), ("N", 6, 2, 2)
    arrays = {"w": RNG.laplace(size=shape).astype(np.float32), "b": np.ones(6, np.float32)}
    kind = "Conv" if conv else "quantable.Linear"
    operation = Operation("o", kind, ("x", "w", "b"), ("y",))
    graph = plain_graph([operation], {"x": inputs}, {"y": outputs}, arrays)
    method = "floating" if weight.policy.is_floating else "minmax"
    scale, zero = scale_from_range(*WEIGHT_METHODS[method](arrays["w"], weight), weight)
    rows = {"o.in1": QuantizationParameters("o.in1").filled(scale, zero, "test")}
    slots = OperationQuantizationConfig((FP32, weight, FP32), (FP32,))
    made = QuantableOperation.create(operation, slots, "test", graph.parameters)
    made = made.bake_parameters(graph.parameters, rows, graph.store)
    done = replace(graph, level=Level.QUANTABLE, operations=(made,), rows=rows)
    verify(done)
    return done


def initializer(folder: Path, name: str) -> onnx.TensorProto:
    held = {item.name: item for item in onnx.load(folder / "model.onnx").graph.initializer}
    return held[name]


TENSOR, CHANNEL, BLOCK = Granularity
CASES = {
    "e4m3": (config(CHANNEL, 8, 4, axis=1), 19, "FLOAT8E4M3FN"),
    "e5m2": (config(TENSOR, 8, 5), 19, "FLOAT8E5M2"),
    "int4-block": (config(BLOCK, 4), 21, "INT4"),
    "int8-block": (config(BLOCK, 8), 21, "INT8"),
    "mxfp8": (config(BLOCK, 8, 4), 21, "FLOAT8E4M3FN"),
}


@pytest.mark.parametrize("name", CASES)
def test_runtimes_give_what_the_reference_gives(
    plain_graph: Callable[..., Graph], tmp_path: Path, name: str
) -> None:
    weight, opset, word = CASES[name]
    graph = layer(plain_graph, weight)
    assert emit(graph, tmp_path)["opset"] == opset
    held = initializer(tmp_path, "w_quantized")
    assert onnx.TensorProto.DataType.Name(held.data_type) == word
    (entry,) = graph.quantable_operations[0].baked
    assert held.raw_data == graph.store.raw(entry.content.digest)
    expected = ReferenceRuntime(graph).run({"x": INPUT})["y"]
    found = OrtModel(tmp_path / "model.onnx").run({"x": INPUT})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    # Optimized, it multiplies weights in blocks by inputs that it rounds to 8 bits.
    fast = OrtModel(tmp_path / "model.onnx", optimize=True).run({"x": INPUT})["y"]
    assert np.linalg.norm(fast - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["int4-block", "mxfp8"])
def test_blocks_of_a_pointwise_convolution(
    plain_graph: Callable[..., Graph], tmp_path: Path, name: str
) -> None:
    graph = layer(plain_graph, replace(CASES[name][0], channel_axis=1), conv=True)
    emit(graph, tmp_path)
    assert list(initializer(tmp_path, "o.in1.scale").dims) == [6, 3, 1, 1]
    x = RNG.normal(size=(2, 40, 2, 2)).astype(np.float32)
    expected = ReferenceRuntime(graph).run({"x": x})["y"]
    found = OrtModel(tmp_path / "model.onnx").run({"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_four_bit_floats_are_written_for_opset_23(
    plain_graph: Callable[..., Graph], tmp_path: Path
) -> None:
    """ONNX Runtime 1.32 has no kernel of this opset; ONNX's own evaluator reads the weights."""
    graph = layer(plain_graph, config(BLOCK, 4, 2))
    assert emit(graph, tmp_path)["opset"] == 23
    held = initializer(tmp_path, "w_quantized")
    (entry,) = graph.quantable_operations[0].baked
    assert onnx.TensorProto.DataType.Name(held.data_type) == "FLOAT4E2M1"
    assert held.raw_data == graph.store.raw(entry.content.digest)
    expected = ReferenceRuntime(graph).run({"x": INPUT})["y"]
    (found,) = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx")).run(None, {"x": INPUT})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_an_emitted_file_is_imported_and_run_again(
    plain_graph: Callable[..., Graph], tmp_path: Path, name: str
) -> None:
    graph = layer(plain_graph, CASES[name][0])
    emit(graph, tmp_path)
    again = import_model(tmp_path / "model.onnx")
    expected = ReferenceRuntime(graph).run({"x": INPUT})["y"]
    found = ReferenceRuntime(again).run({"x": INPUT})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_what_no_type_holds_is_refused(plain_graph: Callable[..., Graph], tmp_path: Path) -> None:
    graph = layer(plain_graph, config(TENSOR, 8, 5))
    op = graph.quantable_operations[0].unbake_parameters()
    odd = op.with_slot("in", 1, replace(op.config.inputs[1], exponent_bits=3))
    with pytest.raises(UnsupportedError, match="in1: policy 'tensor-floating-symmetric"):
        emit(graph.with_operation(odd), tmp_path)
