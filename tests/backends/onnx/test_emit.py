"""Structure and bytes of emitted files, on hand-made graphs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx import emit
from quantable.ir import (
    Graph,
    Level,
    Operation,
    OptionError,
    QuantableOperation,
    QuantizationPolicy,
    Rounding,
    State,
    UnsupportedError,
)
from quantable.reference import ReferenceRuntime

MakeGraph = Callable[..., Graph]


def _nodes(folder: Path) -> list[tuple[str, list[str], list[str]]]:
    graph = onnx.load(folder / "model.onnx").graph
    return [(n.op_type, list(n.input), list(n.output)) for n in graph.node]


def _initializers(folder: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(folder / "model.onnx").graph
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def test_quantizers_stand_where_slots_are_in_force(conv_relu: MakeGraph, tmp_path: Path) -> None:
    emit(conv_relu(), tmp_path)
    kinds = [kind for kind, _, _ in _nodes(tmp_path)]
    pair = ["QuantizeLinear", "DequantizeLinear"]
    weights = ["DequantizeLinear"]
    # x, then w1 and b1; nothing between the fused pair; Relu's output; w2; a float tail.
    expected = [*pair, *weights, *weights, "Conv", "Relu", *pair, *weights, "Conv"]
    assert kinds == expected


def test_values_keep_their_names(conv_relu: MakeGraph, tmp_path: Path) -> None:
    emit(conv_relu(), tmp_path)
    made = {name for _, _, outputs in _nodes(tmp_path) for name in outputs}
    assert {"y1", "y2", "out", "w1", "b1", "w2"} <= made


def test_weights_are_integers(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu()
    emit(graph, tmp_path)
    held = _initializers(tmp_path)
    first = graph.operation_by_name["c1"]
    assert isinstance(first, QuantableOperation)
    baked = first.baked_parameter(1)
    assert baked is not None
    np.testing.assert_array_equal(held["w1_quantized"], graph.store.get(baked.content))
    assert held["w1_quantized"].dtype == np.int8
    assert held["b1_quantized"].dtype == np.int32
    assert not any(a.dtype == np.float32 and a.ndim == 4 for a in held.values())


@pytest.mark.parametrize(
    ("bits", "opset", "ir_version"), [(8, 13, 7), (4, 21, 10)], ids=["int8", "int4"]
)
def test_lowest_opset(
    conv_relu: MakeGraph, tmp_path: Path, bits: int, opset: int, ir_version: int
) -> None:
    manifest = emit(conv_relu(bits=bits), tmp_path)
    assert (manifest["opset"], manifest["ir_version"]) == (opset, ir_version)
    model = onnx.load(tmp_path / "model.onnx")
    assert model.opset_import[0].version == opset
    assert model.ir_version == ir_version


@pytest.mark.parametrize("bits", [8, 4])
def test_runtimes_give_what_the_reference_gives(
    conv_relu: MakeGraph, tmp_path: Path, bits: int
) -> None:
    graph = conv_relu(bits=bits)
    emit(graph, tmp_path)
    rng = np.random.default_rng(8)
    inputs = {"x": rng.uniform(-3, 3, (2, 3, 8, 8)).astype(np.float32)}
    expected = ReferenceRuntime(graph).run(inputs)["out"]
    found = OrtModel(tmp_path / "model.onnx").run(inputs)["out"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    model = onnx.load(tmp_path / "model.onnx")
    model.opset_import[0].version = 21  # onnx's own evaluator knows quantizers from 19 on
    (standard,) = ReferenceEvaluator(model).run(None, inputs)
    np.testing.assert_allclose(standard, expected, rtol=1e-5, atol=1e-5)


def test_baked_or_not_is_the_same_file(conv_relu: MakeGraph, tmp_path: Path) -> None:
    emit(conv_relu(baked=True), tmp_path / "a")
    emit(conv_relu(baked=False), tmp_path / "b")
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()


def test_same_bytes_in_any_folder(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu()
    emit(graph, tmp_path / "a")
    emit(graph, tmp_path / "deeper" / "b")
    for name in ("model.onnx", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "deeper/b" / name).read_bytes()


def test_dequantized_graph_is_the_float_one(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu()
    emit(graph.dequantized(), tmp_path)
    assert [kind for kind, _, _ in _nodes(tmp_path)] == ["Conv", "Relu", "Conv"]
    held = _initializers(tmp_path)
    for name in ("w1", "b1", "w2"):
        np.testing.assert_array_equal(held[name], graph.array(name))


def test_restored_graph_is_the_quantized_one(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu()
    emit(graph, tmp_path / "a")
    emit(graph.dequantized().restored(), tmp_path / "b")
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()


def test_one_pair_for_each_tensor_and_row(shared_input: Graph, tmp_path: Path) -> None:
    emit(shared_input, tmp_path)
    readers = [inputs for kind, inputs, _ in _nodes(tmp_path) if kind == "Relu"]
    assert readers == [["x_dequantized"], ["x_dequantized"], ["x_dequantized.1"]]
    assert [kind for kind, _, _ in _nodes(tmp_path)].count("QuantizeLinear") == 2


def test_narrow_range_is_clipped_in_real_numbers(narrow_input: Graph, tmp_path: Path) -> None:
    emit(narrow_input, tmp_path)
    inputs = {"x": np.linspace(-4, 4, 4001, dtype=np.float32)}
    expected = ReferenceRuntime(narrow_input).run(inputs)["y"]
    found = OrtModel(tmp_path / "model.onnx").run(inputs)["y"]
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) < 32


def test_probe_has_every_value(conv_relu: MakeGraph, tmp_path: Path) -> None:
    manifest = emit(conv_relu(), tmp_path, every_value=True)
    assert manifest["real_values"] == {"y2": "y2_real"}
    model = OrtModel(tmp_path / "model.onnx")
    assert model.outputs == ("out", "y1", "y2", "y2_real")


def test_manifest_names_what_was_written(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu()
    returned = emit(graph, tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert written == returned
    assert written["inputs"] == [{"name": "x", "dtype": "f32", "shape": ["N", 3, 8, 8]}]
    assert written["files"]["model.onnx"]["bytes"] == (tmp_path / "model.onnx").stat().st_size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "model.onnx"]


def test_large_parameters_go_beside_the_model(
    conv_relu: MakeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = conv_relu()
    emit(graph, tmp_path / "inline")
    monkeypatch.setattr("quantable.backends.onnx.model.INLINE_BYTES", 10)
    manifest = emit(graph, tmp_path / "beside")
    assert sorted(manifest["files"]) == ["model.onnx", "model.onnx.data"]
    inputs = {"x": np.ones((1, 3, 8, 8), np.float32)}
    runs = [OrtModel(tmp_path / f / "model.onnx").run(inputs)["out"] for f in ("inline", "beside")]
    np.testing.assert_array_equal(*runs)


def test_integer_level_is_refused(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = replace(conv_relu().dequantized(), level=Level.INTEGER)
    with pytest.raises(OptionError, match="expected level float or quantable, found integer"):
        emit(graph, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_inexpressible_slots_are_listed_together(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu(baked=False)
    first, relu = graph.operation_by_name["c1"], graph.operation_by_name["r"]
    assert isinstance(first, QuantableOperation)
    assert isinstance(relu, QuantableOperation)
    up = replace(first.config.inputs[0], rounding=Rounding.UP)
    dynamic = replace(
        relu.config.outputs[0],
        policy=QuantizationPolicy(dynamic=True),
    )
    broken = graph.with_operations(
        [first.with_slot("in", 0, up), relu.with_slot("out", 0, dynamic)]
    )
    with pytest.raises(UnsupportedError, match=r"2 slots.*'c1'.*rounding up.*'r'.*dynamic"):
        emit(broken, tmp_path)


def test_uncalibrated_graph_is_refused(conv_relu: MakeGraph, tmp_path: Path) -> None:
    graph = conv_relu(baked=False)
    first = graph.operation_by_name["c1"]
    assert isinstance(first, QuantableOperation)
    again = first.with_slot("in", 0, first.config.inputs[0].moved(State.INITIAL))
    rows = {**graph.rows, "c1.in0": graph.rows["c1.in0"].cleared()}
    broken = replace(graph.with_operation(again), rows=rows)
    with pytest.raises(OptionError, match="no scale yet"):
        emit(broken, tmp_path)


def test_a_pool_padded_by_its_whole_window_loads_in_onnx_runtime(
    plain_graph: MakeGraph, tmp_path: Path
) -> None:
    window = {"kernel_shape": (3,), "pads": (2, 3), "dilations": (2,), "strides": (3,)}
    pool = Operation("pool", "MaxPool", ("x",), ("y",), window)
    graph = plain_graph([pool], {"x": (1, 2, 9)}, {"y": (1, 2, 4)}, {})
    emit(graph, tmp_path)
    assert [kind for kind, _, _ in _nodes(tmp_path)] == ["Pad", "MaxPool"]
    x = np.random.default_rng(0).normal(size=(1, 2, 9)).astype(np.float32)
    found = OrtModel(tmp_path / "model.onnx").run({"x": x})["y"]
    np.testing.assert_array_equal(found, ReferenceRuntime(graph).run({"x": x})["y"])


def test_what_the_standard_lacks_is_written_out(plain_graph: MakeGraph, tmp_path: Path) -> None:
    kind = "com.microsoft.SimplifiedLayerNormalization"
    norm = Operation("n", kind, ("x", "g"), ("y", "inverse"), {"axis": 1, "epsilon": 1e-3})
    scale = np.linspace(0.5, 2, 12, dtype=np.float32).reshape(3, 4)
    sizes = {"y": (2, 3, 4), "inverse": (2, 1, 1)}
    graph = plain_graph([norm], {"x": (2, 3, 4)}, sizes, {"g": scale})
    emit(graph, tmp_path)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = OrtModel(tmp_path / "model.onnx").run({"x": x})
    for name, want in ReferenceRuntime(graph).run({"x": x}).items():
        np.testing.assert_allclose(found[name], want, 1e-5, 1e-6)
