"""Inputs of integers on targets without floats: indices of a table, and numbers such as masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantable.backends.c.border import border
from quantable.driver import api, runtime
from quantable.driver.golden import golden_vectors
from quantable.ir import Graph, UnsupportedError

WORDS, WIDTH, LENGTH = 9, 4, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tokens -> embedding, times mask, plus mask -> Linear; and a fixed choice of tokens."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.normal(size=(WORDS, WIDTH)).astype(np.float32),
        "w": rng.normal(size=(WIDTH, 3)).astype(np.float32),
        "last": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"], axis=0),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Cast", ["column"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["words", "real"], ["kept"]),
        helper.make_node("MatMul", ["kept", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "given",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, LENGTH]),
         helper.make_tensor_value_info("mask", TensorProto.INT32, [1, LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, LENGTH, 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("given") / "given.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def _samples(count: int = 8) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"tokens": rng.integers(0, WORDS, (1, LENGTH)),
         "mask": rng.integers(0, 2, (1, LENGTH)).astype(np.int32)}
        for _ in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def quantized(model: Path) -> Graph:
    graph = api.canonicalize(api.import_model(model))
    profile = api.observe(graph, _samples())
    return api.refine(api.calibrate(api.quantize(graph, "c-portable"), profile))


def test_integers_follow_the_simulation(quantized: Graph) -> None:
    simulated, integers = runtime.reference(quantized), runtime.reference(api.lower(quantized))
    for sample in _samples():
        expected, found = (r.run(sample)["y"] for r in (simulated, integers))
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
        masked = sample["mask"][0] == 0
        assert np.abs(found[0, masked]).max(initial=0) == 0


def test_the_border_has_indices_and_quantized_numbers(quantized: Graph) -> None:
    planned = api.plan(api.lower(quantized))
    tokens, mask = border(planned).inputs
    assert (tokens.name, tokens.scale, tokens.clamp_min, tokens.clamp_max) == (
        "tokens", None, 0, WORDS - 1,
    )  # fmt: skip
    assert (mask.name, mask.dtype.bits) == ("mask", 8)
    assert mask.scale == pytest.approx(1 / 255)
    vectors = golden_vectors(planned)
    assert vectors["tokens"].max() < WORDS


def test_indices_that_are_computed_are_refused(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node.insert(0, helper.make_node("Abs", ["tokens"], ["positive"]))
    proto.graph.node[1].input[1] = "positive"
    onnx.save(proto, tmp_path / "computed.onnx")
    graph = api.canonicalize(api.import_model(tmp_path / "computed.onnx"))
    with pytest.raises(UnsupportedError, match="its indices are constants, or an input"):
        api.quantize(graph, "c-portable")
