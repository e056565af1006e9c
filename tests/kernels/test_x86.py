"""Kernels of x86-64 against the reference, for every set of vectors.

Sets that the processor has not run on `emulated/immintrin.h`, their instructions as loops.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.c_compiler import STRICT, compile_c
from quantable.backends.c import emit
from quantable.ir import DType
from quantable.targets.kernel_sets import X86
from tests.kernels.conftest import Network

U8, I8, U16, I16 = DType.UINT8, DType.INT8, DType.UINT16, DType.INT16
AVX512 = ("-mavx512vnni", "-mavx512bw", "-mavx512vl", "-mavx512vbmi")
AVX_VNNI = ("-mavxvnni",)
NATIVE = {"scalar": (), "avx2": ("-mavx2",), "avxvnni": AVX_VNNI, "avx512": AVX512}
NEEDED = {
    "avx2": {"avx2"}, "avxvnni": {"avx_vnni"},
    "avx512": {"avx512_vnni", "avx512bw", "avx512vl", "avx512vbmi"},
}  # fmt: skip
EMULATED = ("-mavx2", "-O0", f"-I{Path(__file__).parent / 'emulated'}", "-Wno-psabi")
CLAIMED = {
    "avxvnni": ("-D__AVXVNNI__",),
    "avx512": ("-D__AVX512VNNI__", "-D__AVX512BW__", "-D__AVX512VL__", "-D__AVX512VBMI__"),
}


def _processor_flags():
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


@pytest.fixture(params=[1, *(pytest.param(seed, marks=pytest.mark.fuzz) for seed in range(2, 5))])
def network(request):
    """An empty network; fewer seeds than elsewhere, since every one runs with four sets."""
    return Network(request.param)


@pytest.fixture(
    params=["avx2", "avx512", pytest.param("avxvnni", marks=pytest.mark.slow), "scalar"]
)
def flags(request):
    """Compiler flags of a set of vectors, emulated where the processor has not got it.

    AVX-VNNI is AVX2 but for one instruction, and left to the slow suite.
    """
    name, found = request.param, _processor_flags()
    if not {"avx2"} <= found and name != "scalar":
        pytest.skip("the processor has no AVX2")
    if NEEDED.get(name, set()) <= found:
        return ("-O2", *NATIVE[name])
    return (*EMULATED, *CLAIMED[name])


def _conv(network, channels, size, kernel, strides, dilations, y_type=U8, batch=1, depth=0):
    random = network.random
    in_c, out_c = channels
    group = in_c if depth else 1
    out = [
        (s - d * (k - 1) - 1) // st + 1
        for s, k, st, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    x = network.input(U8, [batch, *size, in_c])
    shape = (out_c, in_c // group, *kernel)
    weight = network.parameter(random.integers(-128, 128, shape), DType.INT8)
    bias = network.parameter(random.integers(-5000, 5000, out_c), DType.INT32)
    reach = 100.0 * np.sqrt(np.prod(shape[1:])) * 255
    multiplier = network.parameter(network.multipliers(out_c, y_type, reach), DType.FLOAT32)
    network.apply(
        "int.Conv", (x, weight, bias, multiplier), (y_type, [batch, *out, out_c]),
        x_zero_point=network.zero_point(U8), group=group, layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations),
        pads=(0,) * (2 * len(kernel)), **network.requantization(y_type),
    )  # fmt: skip


def _size(network, kernel, dilations):
    """Draw a size that the window fits in."""
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [span + int(network.random.integers(0, 16)) for span in spans]


def test_conv_of_every_number_of_outputs(network, agree, flags):
    """Blocks of one to four vectors, whole and with lanes that no channel has."""
    for out_c, y_type in itertools.product((1, 17, 40, 48, 66, 130), (U8, I16)):
        _conv(network, (4, out_c), (4, 5), (1, 1), (1, 1), (1, 1), y_type)
    agree(network, flags, X86)


@pytest.mark.parametrize("in_c", [1, 3, 8])
def test_conv_of_every_window(network, agree, flags, in_c):
    """Runs that are no whole quads, strides, dilations, many lines in a tile, several images."""
    for kernel, strides, dilations in itertools.product(
        ((1, 1), (3, 3), (2, 5)), ((1, 1), (2, 3)), ((1, 1), (2, 2))
    ):
        size = _size(network, kernel, dilations)
        _conv(network, (in_c, 20), size, kernel, strides, dilations, batch=2)
    agree(network, flags, X86)


def test_conv_of_one_spatial_dimension(network, agree, flags):
    for kernel in (1, 3):
        _conv(network, (5, 18), (9,), (kernel,), (2,), (1,))
        _conv(network, (18, 18), (9,), (kernel,), (1,), (1,), depth=1)
    agree(network, flags, X86)


@pytest.mark.parametrize("channels", [2, 40, 64, 100])
def test_depthwise_conv(network, agree, flags, channels):
    """Columns that are shared between outputs and that are not, more rows than a quad."""
    for kernel, strides, dilations in (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 4), (2, 2), (1, 1)), ((3, 3), (1, 1), (1, 2)),
    ):  # fmt: skip
        size = _size(network, kernel, dilations)
        _conv(network, (channels,) * 2, size, kernel, strides, dilations, batch=2, depth=1)
    agree(network, flags, X86)


def test_linear(network, agree, flags):
    for rows, inner, columns in ((1, 64, 10), (7, 33, 65), (30, 5, 100)):
        operands = (
            network.input(U8, (rows, inner)),
            network.parameter(network.random.integers(-128, 128, (inner, columns)), DType.INT8),
            network.parameter(network.random.integers(-9999, 9999, columns), DType.INT32),
            network.parameter(network.multipliers(columns, U8, 1e5), DType.FLOAT32),
        )
        network.apply(
            "int.Linear", operands, (U8, (rows, columns)), x_zero_point=network.zero_point(U8),
            **network.requantization(U8),
        )  # fmt: skip
    agree(network, flags, X86)


def test_add(network, agree, flags):
    for count, factors in itertools.product((1, 31, 64, 1000), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors)
    agree(network, flags, X86)


@pytest.mark.parametrize("inner", [1, 6, 64])
def test_matmul(network, agree, flags, inner):
    """Broadcast batches, more columns than a block and rows than a tile, sums of any length."""
    for first, second, columns in (((), (), 5), ((2, 1), (3,), 33), ((1,), (2,), 64), ((), (), 97)):
        rows = int(network.random.integers(1, 16))
        batch = np.broadcast_shapes(first, second)
        operands = [
            network.input(U8, (*first, rows, inner)), network.input(U8, (*second, inner, columns))
        ]  # fmt: skip
        zeros = {f"{side}_zero_point": network.zero_point(U8) for side in "ab"}
        multiplier = float(network.multipliers(1, U8, 2e4 * np.sqrt(inner))[0])
        network.apply(
            "int.MatMul", operands, (U8, (*batch, rows, columns)), multiplier=multiplier, **zeros,
            **network.requantization(U8),
        )  # fmt: skip
    agree(network, flags, X86)


def test_mean_and_maximum(network, agree, flags):
    for channels, (high, wide) in itertools.product((3, 64, 70), ((1, 1), (7, 6), (3, 3))):
        x = network.input(U8, (2, high, wide, channels))
        facts = {"x_zero_point": network.zero_point(U8), **network.requantization(U8)}
        multiplier = float(np.float32(0.9 / (high * wide)))
        network.apply(
            "int.ReduceMean", (x,), (U8, (2, 1, 1, channels)), axes=(1, 2), keepdims=1,
            multiplier=multiplier, **facts,
        )  # fmt: skip
        window = {"strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4, "layout": "NHWC"}
        counted = np.full(high * wide, multiplier, np.float32)
        network.apply(
            "int.AveragePool", (x, network.parameter(counted, DType.FLOAT32)),
            (U8, (2, 1, 1, channels)), kernel_shape=(high, wide), count_include_pad=0, **window,
            **facts,
        )  # fmt: skip
        window["pads"] = (0, 0, 1, 1)
        network.apply(
            "int.MaxPool", (x,), (U8, (2, high, wide, channels)), kernel_shape=(2, 2), **window
        )
    agree(network, flags, X86)


def test_softmax(network, agree, flags):
    """Rows of any length, flat and steep, of equal numbers and of the largest number of one."""
    for rows, count, scale in (
        (3, 1, 0.06),
        (2, 7, 0.06),
        (2, 16, 0.9),
        (3, 197, 0.02),
        (1, 600, 3),
    ):
        network.softmax(U8, U8, rows, count, scale)
    agree(network, flags, X86)


def test_layer_normalization(network, agree, flags):
    """Whole eights and what is left; sums that meet the end of what is computed in bytes."""
    for count in (1, 8, 15, 64, 197, 768):
        network.layer_normalization(U8, U8, 3, count)
    agree(network, flags, X86)


def test_functions_of_bytes(network, agree, flags):
    """Tables of both signs, and products with one constant number."""
    for (x_type, y_type), count in itertools.product(
        itertools.product((U8, I8), repeat=2), (1, 90)
    ):
        table = network.table(y_type)
        network.apply("int.Table", (network.input(x_type, (count,)), table), (y_type, (count,)))
    for slot, factor in itertools.product((0, 1), (-127, 0, 90)):
        operands = [network.input(U8, (2, 45)), network.parameter(np.array([factor]), I8)]
        zeros = [network.zero_point(U8), 0]
        if slot == 0:
            operands.reverse()
            zeros.reverse()
        network.apply(
            "int.Mul", operands, (U8, (2, 45)), a_zero_point=zeros[0], b_zero_point=zeros[1],
            multiplier=float(np.float32(0.013)), **network.requantization(U8),
        )  # fmt: skip
    agree(network, flags, X86)


@pytest.mark.parametrize("real", [AVX512, AVX_VNNI], ids=["avx512", "avxvnni"])
@pytest.mark.parametrize("level", ["-O2", "-O3"])
def test_every_set_compiles_without_a_warning(network, tmp_path, real, level):
    """With the compiler's own header, whatever the processor has."""
    _conv(network, (3, 80), (9, 9), (3, 3), (1, 1), (1, 1))
    _conv(network, (8, 20), (9, 9), (1, 1), (1, 1), (1, 1), I16)
    _conv(network, (70, 70), (9, 9), (3, 3), (1, 1), (1, 1), depth=1)
    network.softmax(U8, U8, 3, 70, 0.06)
    network.layer_normalization(U8, U8, 3, 70)
    network.apply("int.Table", (network.input(U8, (70,)), network.table(U8)), (U8, (70,)))
    emit(network.graph(), tmp_path, kernels=X86)
    source = tmp_path / "model.c"
    text = source.read_text("utf-8")
    kernels = ("q_gemm", "q_columns", "q_softmax_bytes", "q_layer_norm_bytes", "q_table_bytes")
    assert [name for name in kernels if name not in text] == []
    compile_c("gcc", [*STRICT, level, *real, "-c"], [source], tmp_path / "model.o")
