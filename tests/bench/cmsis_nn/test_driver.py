"""The calls of CMSIS-NN compute our networks: against an implementation of its interface."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.cmsis_nn.driver import driver, live_bytes, weights_header
from quantable.bench.cmsis_nn.layers import LAYERS
from quantable.ir import DType, Operation, UnsupportedError
from quantable.reference import ReferenceRuntime
from tests.kernels.conftest import Network

HERE = Path(__file__).parent
U8, I16 = DType.UINT8, DType.INT16


def _conv(net, x, channels, size, strides, *, depth=False):
    in_c, out_c = channels
    weight = net.random.integers(-127, 128, (out_c, 1 if depth else in_c, 3, 3))
    multiplier = net.random.uniform(0.5, 1.5, out_c) / (40.0 * np.sqrt(weight[0].size) * 2)
    net.apply(
        "int.Conv",
        (x, net.parameter(weight, DType.INT8),
         net.parameter(net.random.integers(-900, 900, out_c), DType.INT32),
         net.parameter(multiplier, DType.FLOAT32)),
        (U8, [1, size, size, out_c]), x_zero_point=117, y_zero_point=131, clamp_min=9,
        clamp_max=250, group=in_c if depth else 1, layout="NHWC", kernel_shape=(3, 3),
        strides=strides, dilations=(1, 1), pads=(0, 0, 1, 1) if strides[0] == 2 else (1, 1, 1, 1),
    )  # fmt: skip


def _network():
    """Every layer of the table: convolutions, a sum, a mean, and logits of 16 bits."""
    net = Network(3)
    x = net.input(U8, [1, 12, 12, 3])
    _conv(net, x, (3, 8), 6, (2, 2))
    _conv(net, "y0.0", (8, 8), 6, (1, 1), depth=True)
    net.apply(
        "int.Add", ("y0.0", "y1.0"), (U8, [1, 6, 6, 8]), a_zero_point=131, b_zero_point=120,
        a_multiplier=16384, b_multiplier=9000, multiplier=3e-5, y_zero_point=128, clamp_min=0,
        clamp_max=255,
    )  # fmt: skip
    means = np.array([0.9 / (n + 1) for n in range(4)])
    net.apply(
        "int.AveragePool", ("y2.0", net.parameter(means, DType.FLOAT32)), (U8, [1, 3, 3, 8]),
        x_zero_point=128, y_zero_point=100, clamp_min=0, clamp_max=255, count_include_pad=0,
        kernel_shape=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0, 0, 0, 0), layout="NHWC",
    )  # fmt: skip
    net.apply("Reshape", ("y3.0", net.parameter([1, 72], DType.INT64)), (U8, [1, 72]))
    weight = net.random.integers(-127, 128, (72, 4))
    net.apply(
        "int.Linear",
        ("y4.0", net.parameter(weight, DType.INT8),
         net.parameter(net.random.integers(-900, 900, 4), DType.INT32),
         net.parameter([0.5, 0.3, 0.45, 0.4], DType.FLOAT32)),
        (I16, [1, 4]), x_zero_point=100, y_zero_point=0, clamp_min=-32768, clamp_max=32767,
    )  # fmt: skip
    return dataclasses.replace(net.graph(), outputs=("y5.0",))


def test_calls_compute_the_network(tmp_path):
    graph = _network()
    assert {op.kind for op in graph.operations} == set(LAYERS)
    made = driver(graph)
    for name, text in (
        ("model.c", made.model), ("model.h", made.header), ("model_weights.c", made.weights),
        ("model_weights.h", weights_header(made.weights)),
    ):  # fmt: skip
        (tmp_path / name).write_text(text, "utf-8")
    library = tmp_path / "model.so"
    sources = [str(tmp_path / name) for name in ("model.c", "model_weights.c")]
    flags = ["-shared", "-fPIC", f"-I{tmp_path}", f"-I{HERE}", "-Wall", "-Wno-unused-variable"]
    subprocess.run(["gcc", *flags, *sources, "-o", str(library), "-lm"], check=True)
    code, reference = ctypes.CDLL(str(library)), ReferenceRuntime(graph)
    for seed in range(4):
        x = np.random.default_rng(seed).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8)
        signed, found = (x.astype(np.int16) - 128).astype(np.int8), np.zeros(4, np.int8)
        assert code.cmsis_nn_run(*(ctypes.c_void_p(a.ctypes.data) for a in (signed, found))) == 0
        expected = reference.run({"x0": x})[made.result].reshape(-1) / made.step + made.zero_point
        assert np.abs(found - np.clip(expected, -128, 127)).max() <= 2
        assert np.ptp(found.astype(int)) > 10
    assert code.cmsis_nn_scratch() == 8 * 9  # of the depthwise layer
    assert (made.steps, made.live_bytes) == (5, 3 * 6 * 6 * 8)


def test_an_operation_without_a_layer_is_refused():
    net = Network(1)
    net.apply("int.Table", (net.input(U8, [1, 4]), net.parameter(np.arange(256), U8)), (U8, [1, 4]))
    with pytest.raises(UnsupportedError, match=r"CMSIS-NN has no layer for int\.Table"):
        driver(net.graph())


def test_live_bytes_follow_the_last_use():
    """A view keeps what it shows; the network's input and result take nothing."""
    operations = [
        Operation("a", "int.Conv", ("x",), ("a",), {}),
        Operation("b", "int.Conv", ("a",), ("b",), {}),
        Operation("v", "Reshape", ("a",), ("v",), {}),
        Operation("c", "int.Conv", ("b",), ("c",), {}),
        Operation("y", "int.Add", ("c", "v"), ("y",), {}),
    ]
    assert live_bytes(operations, {"a": 7, "b": 20, "c": 5, "y": 100}, "y") == 7 + 20 + 5
