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
from tests.kernels import vector_layers as layers
from tests.kernels.conftest import Network
from tests.kernels.emulation import demand_reference

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
    return vector_flags(request.param, ("-O2",))


def vector_flags(name, natively):
    """Return compiler flags of a set of vectors, and `natively` where the processor has it."""
    found = _processor_flags()
    if not {"avx2"} <= found and name != "scalar":
        pytest.skip("the processor has no AVX2")
    if NEEDED.get(name, set()) <= found:
        return (*natively, *NATIVE[name])
    return (*EMULATED, *CLAIMED[name])


def test_conv_of_every_number_of_outputs(network, agree, flags):
    layers.add_convs_of_every_number_of_outputs(network)
    agree(network, flags, X86)


@pytest.mark.parametrize("in_c", [1, 3, 8])
def test_conv_of_every_window(network, agree, flags, in_c):
    layers.add_convs_of_every_window(network, in_c)
    agree(network, flags, X86)


def test_conv_of_one_spatial_dimension(network, agree, flags):
    layers.add_convs_of_one_spatial_dimension(network)
    agree(network, flags, X86)


@pytest.mark.parametrize("channels", [2, 16, 40, 64, 100])
def test_depthwise_conv(network, agree, flags, channels):
    layers.add_depthwise(network, channels)
    agree(network, flags, X86)


def test_linear(network, agree, flags):
    layers.add_linears(network)
    agree(network, flags, X86)


def test_the_largest_products_do_not_saturate(network, agree, flags):
    """All inputs 0 or 255, all weights at one end of their range, or at both in turn."""
    for low, high in ((-127, -127), (127, 127), (-127, 127), (-128, 127)):
        weight = np.where(np.arange(40 * 36).reshape(40, 4, 3, 3) % 2, low, high)
        for value in (0, 255):
            x = network.input(U8, (1, 4, 9, 4))
            network.fixed[x] = value
            operands = (
                x, network.parameter(weight, DType.INT8),
                network.parameter(np.full(40, 77), DType.INT32),
                network.parameter(np.full(40, 1e-4), DType.FLOAT32),
            )  # fmt: skip
            network.apply(
                "int.Conv", operands, (U8, [1, 2, 7, 40]), x_zero_point=0, group=1, layout="NHWC",
                kernel_shape=(3, 3), strides=(1, 1), dilations=(1, 1), pads=(0,) * 4,
                y_zero_point=128, clamp_min=0, clamp_max=255,
            )  # fmt: skip
    agree(network, flags, X86)


def test_add(network, agree, flags):
    layers.add_sums(network)
    agree(network, flags, X86)


@pytest.mark.parametrize("inner", [1, 6, 64])
def test_matmul(network, agree, flags, inner):
    layers.add_matmuls(network, inner)
    agree(network, flags, X86)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(600, 5, 70), (23, 130, 81), (14, 7, 16)])
def test_matmul_of_more_rows_than_a_tile(network, agree, flags, rows, inner, columns):
    """Tiles that end with the last row, columns that are left, sums kept of some rows."""
    layers.add_matmul(network, (rows, inner, columns))
    agree(network, flags, X86)


def test_mean_and_maximum(network, agree, flags):
    layers.add_means_and_maxima(network)
    agree(network, flags, X86)


def test_softmax(network, agree, flags):
    """Rows of any length, flat and steep, of equal numbers and of the largest number of one.

    Exponentials of 70,000 elements, as bytes in 16 lanes, need more than 31 bits a lane.
    """
    for rows, count, scale in (
        (3, 1, 0.06),
        (2, 7, 0.06),
        (2, 16, 0.9),
        (3, 197, 0.02),
        (1, 600, 3),
        (1, 70_000, 1e-3),
        (13, 66, 0.05),
    ):
        network.softmax(U8, U8, rows, count, scale)
    agree(network, flags, X86)


def test_layer_normalization(network, agree, flags):
    """Whole eights and what is left; sums that meet the end of what is computed in bytes."""
    for rows, count in ((3, 1), (3, 8), (3, 15), (9, 64), (6, 197), (4, 768), (33, 66), (1, 65536)):
        network.layer_normalization(U8, U8, rows, count)
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


def test_a_multiplier_whose_products_overflow_makes_no_warning(agree):
    """A mask multiplies by the most negative float: its quantized form overflows float32."""
    network = Network(3)
    for factor in (-127, 1):
        operands = [network.input(U8, (2, 45)), network.parameter(np.array([factor]), I8)]
        network.apply(
            "int.Mul", operands, (U8, (2, 45)), a_zero_point=7, b_zero_point=0, multiplier=3e38,
            **network.requantization(U8),
        )  # fmt: skip
    agree(network, vector_flags("avx2", ("-O1",)), X86)


TRANSPOSES = (
    ((1, 3, 5, 7), (0, 2, 3, 1)), ((2, 3, 4, 16), (0, 2, 3, 1)), ((1, 37, 40), (0, 2, 1)),
    ((37, 3, 8), (1, 2, 0)), ((3, 16, 33), (0, 2, 1)),
)  # fmt: skip


def test_transposes_of_bytes(network, agree, flags, tmp_path):
    """Three rows, whole eights of rows, what is left of either; and one that is no matrix."""
    for (shape, perm), dtype in itertools.product((*TRANSPOSES, ((2, 3, 4), (2, 1, 0))), (U8, I8)):
        out = tuple(shape[axis] for axis in perm)
        network.apply("Transpose", (network.input(dtype, shape),), (dtype, out), perm=perm)
    emit(network.graph(), tmp_path / "code", kernels=X86)
    source = (tmp_path / "code" / "model.c").read_text("utf-8")
    assert source.count("  q_transpose_bytes(") == 2 * len(TRANSPOSES)
    agree(network, flags, X86)


@pytest.mark.parametrize(
    "level",
    [pytest.param("-O2", marks=pytest.mark.slow), pytest.param("-O3", marks=pytest.mark.fuzz)],
)
def test_instructions_of_avx512_on_an_emulated_pc(tmp_path, level):
    """Code as it is shipped: no processor at hand has AVX512-VNNI."""
    network = Network(1)
    layers.add_convs_of_every_number_of_outputs(network)
    layers.add_convs_of_every_window(network, 3)
    layers.add_convs_of_one_spatial_dimension(network)
    layers.add_linears(network)
    for channels in (2, 40, 100):
        layers.add_depthwise(network, channels)
    for inner in (1, 6, 64):
        layers.add_matmuls(network, inner)
    layers.add_sums(network)
    layers.add_means_and_maxima(network)
    for count in (1, 70, 600):
        network.softmax(U8, U8, 3, count, 0.06)
        network.layer_normalization(U8, U8, 3, count)
        network.apply("int.Table", (network.input(U8, (count,)), network.table(U8)), (U8, (count,)))
    demand_reference(network, tmp_path, X86, ("x86-64-avx512vnni",), (level,))


def test_avx2_stores_eight_channels_wherever_they_lie(network, agree):
    """The intrinsic for the upper half of a vector wants an aligned double."""
    for out_c in (8, 20, 24, 36, 70):
        layers.add_conv(network, (5, out_c), (7, 3), (1, 1), (1, 1), (1, 1))
    network.apply("Transpose", (network.input(U8, (1, 9, 17)),), (U8, (1, 17, 9)), perm=(0, 2, 1))
    sanitized = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover")
    agree(network, vector_flags("avx2", sanitized), X86)


@pytest.mark.parametrize("real", [AVX512, AVX_VNNI], ids=["avx512", "avxvnni"])
@pytest.mark.parametrize("level", ["-O2", "-O3"])
def test_every_set_compiles_without_a_warning(network, tmp_path, real, level):
    """With the compiler's own header, whatever the processor has."""
    layers.add_conv(network, (3, 80), (9, 9), (3, 3), (1, 1), (1, 1))
    layers.add_conv(network, (8, 20), (9, 9), (1, 1), (1, 1), (1, 1), I16)
    # Tiles of 14 pixels and no other ones: MobileNetV2 warned of one with 15, which is never used.
    layers.add_conv(network, (24, 16), (28, 28), (1, 1), (1, 1), (1, 1))
    layers.add_conv(network, (24, 32), (14, 14), (1, 1), (1, 1), (1, 1))
    layers.add_conv(network, (70, 70), (9, 9), (3, 3), (1, 1), (1, 1), depth=1)
    network.softmax(U8, U8, 3, 70, 0.06)
    network.layer_normalization(U8, U8, 3, 70)
    network.apply("int.Table", (network.input(U8, (70,)), network.table(U8)), (U8, (70,)))
    # The only transpose, and of whole eights: BERT warned of rows behind the last one.
    network.apply("Transpose", (network.input(U8, (128, 768)),), (U8, (768, 128)), perm=(1, 0))
    emit(network.graph(), tmp_path, kernels=X86)
    source = tmp_path / "model.c"
    text = source.read_text("utf-8")
    kernels = ("q_gemm", "q_columns", "q_softmax_bytes", "q_layer_norm_bytes", "q_table_bytes")
    assert [name for name in kernels if name not in text] == []
    compile_c("gcc", [*STRICT, level, *real, "-c"], [source], tmp_path / "model.o")
