"""500 random layers of every kernel of x86-64 against the reference, and some of them by threads.

What the processor has not runs on `emulated/immintrin.h`; AVX512-VNNI, as the
compiler makes it, on a PC that is emulated.
"""

from __future__ import annotations

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel
from quantable.backends.c import emit
from quantable.ir import DType
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import X86
from tests.kernels import vector_layers as layers
from tests.kernels.conftest import VECTORS, Network
from tests.kernels.drawn_layers import draw_conv
from tests.kernels.emulation import demand_reference
from tests.kernels.test_x86 import vector_flags

U8, I8 = DType.UINT8, DType.INT8


def _draw_softmax(network):
    rows, count = int(network.random.integers(1, 6)), int(network.random.integers(1, 300))
    scale = float(network.random.choice([1e-4, 0.02, 0.06, 0.9, 3.0, 50.0]))
    network.softmax(U8, U8, rows, count, scale)


def _draw_layer_normalization(network):
    rows, count = int(network.random.integers(1, 6)), int(network.random.integers(1, 300))
    network.layer_normalization(U8, U8, rows, count)


def _draw_table(network):
    x_type, y_type = (U8 if network.random.random() < 0.5 else I8 for _ in "xy")
    shape = (int(network.random.integers(1, 300)),)
    table = network.table(y_type)
    network.apply("int.Table", (network.input(x_type, shape), table), (y_type, shape))


def _draw_scaled(network):
    """Bytes times one constant number."""
    shape = (int(network.random.integers(1, 4)), int(network.random.integers(1, 200)))
    factor = int(network.random.choice([-128, 127, 0, int(network.random.integers(-128, 128))]))
    operands = [network.input(U8, shape), network.parameter(np.array([factor]), I8)]
    zeros = [network.zero_point(U8), 0]
    if network.random.random() < 0.5:
        operands.reverse()
        zeros.reverse()
    multiplier = float(np.float32(network.random.choice([1e-5, 0.002, 0.013, 1.0])))
    network.apply(
        "int.Mul", operands, (U8, shape), a_zero_point=zeros[0], b_zero_point=zeros[1],
        multiplier=multiplier, **network.requantization(U8),
    )  # fmt: skip


DRAWN = {
    **layers.RANDOM,
    "softmax": _draw_softmax, "layer_normalization": _draw_layer_normalization,
    "table": _draw_table, "scaled": _draw_scaled, "nine": layers.add_random_window_of_nine,
}  # fmt: skip
KERNELS = {
    "conv": "q_gemm", "depthwise": "q_columns", "linear": "q_gemm", "matmul": "q_matrix",
    "sum": "q_sum_bytes", "mean": "q_mean_bytes", "maximum": "q_maximum_bytes",
    "softmax": "q_softmax_bytes", "layer_normalization": "q_layer_norm_bytes",
    "table": "q_table_bytes", "scaled": "q_table_bytes", "nine": "q_gemm",
}  # fmt: skip
"""What makes most layers of a kind."""


def _demand_the_reference(folder, network, flags, threads=1):
    graph, samples = network.graph(), network.samples()
    emit(graph, folder, kernels=X86)
    found = CompiledModel(folder, flags=flags, threads=threads).run(samples)
    reference = ReferenceRuntime(graph)
    for vector in range(VECTORS):
        expected = reference.run({name: array[vector] for name, array in samples.items()})
        for name, array in expected.items():
            operation = graph.producers[name]
            np.testing.assert_array_equal(
                found[name][vector], array, f"{operation.kind} {dict(operation.attributes)}"
            )


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_layers_of_a_kind_are_made_by_its_kernel(tmp_path, kind):
    network = Network(50)
    for _ in range(20):
        DRAWN[kind](network)
    emit(network.graph(), tmp_path, kernels=X86)
    source = (tmp_path / "model.c").read_text("utf-8")
    assert source.count(f"  {KERNELS[kind]}") >= 18


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_five_hundred_random_layers(tmp_path, kind):
    network = Network(300)
    for _ in range(500):
        DRAWN[kind](network)
    _demand_the_reference(tmp_path, network, vector_flags("avx2", ("-O0",)))


@pytest.mark.fuzz
@pytest.mark.parametrize("form", ["avxvnni", "scalar"])
@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_random_layers_of_other_forms(tmp_path, kind, form):
    network = Network(301)
    for _ in range(170):
        DRAWN[kind](network)
    _demand_the_reference(tmp_path, network, vector_flags(form, ("-O0",)))


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_five_hundred_random_layers_with_instructions_of_avx512(tmp_path, kind, part):
    """In two programs."""
    network = Network(304 + part)
    for _ in range(250):
        DRAWN[kind](network)
    demand_reference(network, tmp_path, X86, ("x86-64-avx512vnni",), ("-O0",))


@pytest.mark.fuzz
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("form", ["avx2", "avx512"])
@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_threads_share_random_layers(tmp_path, kind, form, threads):
    network = Network(302)
    for _ in range(100):
        DRAWN[kind](network)
    flags = (*vector_flags(form, ("-O1",)), "-DQUANTABLE_SMALLEST_SHARED=1")
    _demand_the_reference(tmp_path, network, flags, threads)


@pytest.mark.fuzz
@pytest.mark.parametrize("threads", [1, 3])
def test_windows_without_a_kernel_run_in_portable_c(tmp_path, threads):
    """With padding, which the plan makes explicit where a kernel is to make them."""
    network = Network(303)
    for index in range(500 if threads == 1 else 100):
        draw_conv(network, is_depthwise=index % 2 == 0)
    flags = ("-O0", "-mavx2", "-DQUANTABLE_SMALLEST_SHARED=1")
    _demand_the_reference(tmp_path, network, flags, threads)
