"""Weights of eight-bit floats and in blocks on real networks, from samples to a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantable.adapters.onnxruntime import OrtModel
from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.driver.data import Sample
from quantable.ir import Graph, Profile, graph_digest, verify
from quantable.reference import ReferenceRuntime
from quantable.schema import load, save
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph
from tests.networks.conftest import SHARED, Case

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder of shared networks")
SAMPLES = 8
Measured = tuple[Graph, Profile, list[Sample]]
MX = """
name = "mine"
extends = "onnxruntime-int4-block"
[schemes.weight]
bits = 4
power_of_two = true
"""
FP4 = """
arithmetic = "floating"
exponent_bits = 2
quant_min = -6
quant_max = 6
observer = "floating"
"""
CHANNELS = """
name = "mine"
extends = "onnxruntime"
[schemes.weight]
bits = 4
quant_min = -8
quant_max = 7
observer = "mse"
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    """Canonical graphs, profiles of a few samples, and as many samples to judge by."""
    found = {}
    for name in ("dscnn_kws", "cct_cifar"):
        case = Case(NETWORKS[name])
        graph = api.canonicalize(api.import_model(case.model))
        profile = api.observe(graph, case.inputs("calibration", SAMPLES))
        found[name] = graph, profile, case.inputs("evaluation", SAMPLES)
    return found


def quantized(measured: Measured, target: str | Path) -> Graph:
    graph, profile, _ = measured
    done = api.refine(
        api.calibrate(api.quantize(graph, target), profile, target=target), target=target
    )
    verify(done)
    return done


def results(model: Any, samples: list[Sample], output: str) -> npt.NDArray[np.float64]:
    return np.concatenate([model.run(sample)[output] for sample in samples]).astype(np.float64)


def sqnr(found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()))


def sqnr_to_float(measured: Measured, done: Graph) -> float:
    graph, _, samples = measured
    output = graph.outputs[0]
    expected = results(ReferenceRuntime(graph), samples, output)
    return sqnr(results(ReferenceRuntime(done), samples, output), expected)


@pytest.mark.parametrize(
    ("name", "target", "least", "stored"),
    [
        ("dscnn_kws", "onnxruntime-fp8", 25.0, {("f8e4m3fn", "channel"): 10}),
        ("cct_cifar", "onnxruntime-fp8", 25.0, {("f8e4m3fn", "channel"): 20}),
        ("dscnn_kws", "onnxruntime-int4-block", 14.0, {("i4", "block"): 5, ("i8", "channel"): 5}),
        ("cct_cifar", "onnxruntime-int4-block", 20.0, {("i4", "block"): 18, ("i8", "channel"): 2}),
        ("cct_cifar", "onnxruntime-mxfp8", 25.0, {("f8e4m3fn", "block"): 18, ("i8", "channel"): 2}),
    ],
)
def test_a_network_is_quantized_kept_emitted_and_run(
    measured: dict[str, Measured], tmp_path: Path, name: str, target: str, least: float,
    stored: dict[tuple[str, str], int],
) -> None:  # fmt: skip
    done = quantized(measured[name], target)
    found: dict[tuple[str, str], int] = {}
    for op in done.quantable_operations:
        for entry in op.baked:
            key = entry.content.dtype.value, op.config.inputs[entry.slot].policy.granularity.value
            found[key] = found.get(key, 0) + (entry.slot == 1)
    assert {key: count for key, count in found.items() if count} == stored
    assert sqnr_to_float(measured[name], done) > least
    save(done, tmp_path / "kept.qir")
    assert graph_digest(load(tmp_path / "kept.qir")) == graph_digest(done)
    assert parse_graph(print_graph(done, history=True), store=done.store) == done
    api.emit(done, tmp_path)
    output, samples = done.outputs[0], measured[name][2]
    # Sums in another order round a few activations to the neighbouring integer.
    run = results(OrtModel(tmp_path / "model.onnx"), samples, output)
    assert sqnr(run, results(ReferenceRuntime(done), samples, output)) > least + 5


def test_blocks_are_nearer_to_the_weights_than_channels(
    measured: dict[str, Measured], tmp_path: Path
) -> None:
    (tmp_path / "channels.toml").write_text(CHANNELS)
    found = {
        target: sqnr_to_float(measured["cct_cifar"], quantized(measured["cct_cifar"], target))
        for target in ("onnxruntime-int4-block", tmp_path / "channels.toml")
    }
    blocks, channels = found.values()
    assert blocks > channels + 3


@pytest.mark.parametrize(("more", "opset"), [("", 21), (FP4, 23)], ids=["int4", "fp4"])
def test_four_bits_with_a_power_of_two_a_block(
    measured: dict[str, Measured], tmp_path: Path, more: str, opset: int
) -> None:
    target = tmp_path / "mx.toml"
    target.write_text(MX + more)
    done = quantized(measured["cct_cifar"], target)
    for op in done.quantable_operations:
        for config in op.config.inputs:
            if config.policy.is_per_block:
                scale = done.rows[config.row].scale_array
                assert np.array_equal(np.log2(scale), np.round(np.log2(scale)))
    assert sqnr_to_float(measured["cct_cifar"], done) > 12
    assert api.emit(done, tmp_path / "out", target=target)["opset"] == opset
