"""Kernels of cores with Helium against the reference: plain C here, vectors by emulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantable.backends.c import emit
from quantable.ir import DType
from quantable.targets.kernel_sets import ARMV81M
from tests.kernels.conftest import Network
from tests.kernels.emulation import demand_kernels, demand_reference
from tests.kernels.layers import conv, linear, pool, window

I8, I16 = DType.INT8, DType.INT16
BYTES = {"x_type": I8, "y_type": I8}
FLAGS = ("-O2", "-fsanitize=undefined", "-fno-sanitize-recover")
RANDOM_LAYERS = 500
"""Of every kind; a program holds `_BATCH` of them."""
_BATCH = 100


def _add_convs(network):
    """Whole vectors and parts, odd channels, strides, dilations, images; one pixel, two, three."""
    for channels in ((1, 5), (3, 8), (20, 70)):
        for kernel, strides, dilations in (
            ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)),
            ((2, 4), (2, 3), (2, 2)),
        ):  # fmt: skip
            size, pads = window(network, kernel, dilations)
            conv(network, channels, size, kernel, strides, dilations, pads, batch=2, **BYTES)
    for width in (1, 2, 3, 4):
        conv(network, (8, 7), (1, width), (1, 1), (1, 1), (1, 1), (0,) * 4, **BYTES)
    conv(network, (5, 7), (9,), (3,), (2,), (1,), (1, 2), **BYTES)
    conv(network, (8, 7), (6, 7), (3, 3), (1, 1), (1, 1), (1,) * 4, x_type=I8, y_type=I16)


def _add_depthwise(network):
    """Whole sixteens of channels and not, even and odd numbers of taps."""
    for channels, (kernel, strides, dilations) in itertools.product((8, 16, 20), (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 2)),
    )):  # fmt: skip
        size, pads = window(network, kernel, dilations)
        conv(
            network, (channels,) * 2, size, kernel, strides, dilations, pads, batch=2, depth=True,
            least=-127, **BYTES,
        )  # fmt: skip
    conv(network, (8, 8), (9,), (3,), (1,), (1,), (1, 1), depth=True, least=-127, **BYTES)


def _add_linears(network):
    """Few rows, which have a kernel of their own, and many; more channels than sums are kept."""
    for rows, y_type in itertools.product((1, 3, 7), (I8, I16)):
        for inner, columns in ((1, 2), (33, 6), (64, 9), (16, 131)):
            linear(network, rows, inner, columns, -128, x_type=I8, y_type=y_type)


def _add_sums(network):
    for count, factors in itertools.product((1, 3, 64, 101), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors, I8)


def _add_pools(network):
    for kind, channels in itertools.product(("int.MaxPool", "int.AveragePool"), (1, 6, 16, 21)):
        pool(network, kind, channels, (6, 7), (3, 2), (2, 1), (1, 1, 2, 0), dtype=I8, batch=2)
        pool(network, kind, channels, (4, 4), (4, 4), (1, 1), (0,) * 4, dtype=I8)


LAYERS = {
    "add": _add_sums, "conv": _add_convs, "depthwise": _add_depthwise, "linear": _add_linears,
    "pool": _add_pools,
}  # fmt: skip
USED = {
    "add": ("q_mve_add",),
    "conv": ("q_mve_conv_i8", "q_mve_conv_i16", "q_mve_points_i8", "q_mve_pixels_i8"),
    "depthwise": ("q_mve_depthwise",),
    "linear": ("q_mve_points_i8", "q_mve_points_i16", "q_mve_pixels_i8", "q_mve_pixels_i16"),
    "pool": ("q_mve_max_pool", "q_mve_average_pool"),
}  # fmt: skip


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_plain_c(agree, layers):
    """The same constants without Helium, and nothing undefined."""
    network = Network(1)
    LAYERS[layers](network)
    agree(network, FLAGS, ARMV81M)


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_every_form_of_a_kernel_is_tested(tmp_path, layers):
    """With the seed of the default suite: others draw layers that run in portable C, too."""
    network = Network(1)
    LAYERS[layers](network)
    portable = ("q_conv_", "q_depthwise_", "q_average_", "q_max_")
    demand_kernels(network, tmp_path, ARMV81M, USED[layers], portable)


def test_products_that_leave_16_bits_run_in_portable_c(tmp_path):
    """Two weights of -128 one after the other: their products with -128 are 2**15."""
    network = Network(1)
    weight = np.full((4, 1, 1, 2), -128)
    x = network.input(I8, (1, 3, 4, 4))
    network.apply(
        "int.Conv",
        (x, network.parameter(weight, I8), network.parameter(np.zeros(4), DType.INT32),
         network.parameter(np.full(4, 1e-3), DType.FLOAT32)),
        (I8, (1, 3, 3, 4)), x_zero_point=0, group=4, layout="NHWC", kernel_shape=(1, 2),
        strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0), y_zero_point=0, clamp_min=-128,
        clamp_max=127,
    )  # fmt: skip
    emit(network.graph(), tmp_path, kernels=ARMV81M)
    assert "  q_depthwise_i8_i8(" in (tmp_path / "model.c").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "level"),
    [("cortex-m55", "-O2"), ("cortex-m55", "-Os"), ("cortex-m55-gcc", "-O2")],
)
@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_emulated(tmp_path, layers, processor, level):
    network = Network(5)
    LAYERS[layers](network)
    demand_reference(network, tmp_path, ARMV81M, (processor,), (level,))


@pytest.mark.slow
def test_a_window_of_as_many_rows_as_bytes_lie_between_them(tmp_path):
    """Both numbers lay in one register, where the compiler knew them: one is counted down."""
    network = Network(3)
    conv(network, (1, 9), (49, 10), (10, 4), (2, 2), (1, 1), (4, 1, 5, 1), **BYTES)
    demand_reference(network, tmp_path, ARMV81M, ("cortex-m55",), ("-O2",))


def _draw_geometry(network):
    """Return kernel, strides, dilations, and sizes and borders that go with them."""
    random = network.random
    kernel, strides, dilations = (
        tuple(int(v) for v in random.choice(choices, 2))
        for choices in ((1, 1, 2, 3, 3, 5), (1, 1, 2, 3), (1, 1, 1, 2))
    )
    return kernel, strides, dilations, *window(network, kernel, dilations)


def _draw_conv(network):
    kernel, strides, dilations, size, pads = _draw_geometry(network)
    channels = [int(v) for v in network.random.integers(1, 40, 2)]
    y_type = I8 if network.random.random() < 0.8 else I16
    conv(
        network, channels, size, kernel, strides, dilations, pads, x_type=I8, y_type=y_type,
        batch=int(network.random.integers(1, 3)),
    )  # fmt: skip


def _draw_depthwise(network):
    kernel, strides, dilations, size, pads = _draw_geometry(network)
    channels = 4 * int(network.random.integers(1, 13))
    conv(
        network, (channels,) * 2, size, kernel, strides, dilations, pads, depth=True, least=-127,
        batch=int(network.random.integers(1, 3)), **BYTES,
    )  # fmt: skip


def _draw_linear(network):
    rows, inner, columns = (int(v) for v in network.random.integers(1, (9, 90, 90)))
    least = int(network.random.choice([-128, -127]))
    y_type = I8 if network.random.random() < 0.6 else I16
    linear(network, rows, inner, columns, least, x_type=I8, y_type=y_type)


def _draw_sum(network):
    factors = network.random.integers(-32767, 32768, 2)
    network.add_bytes(int(network.random.integers(1, 200)), tuple(int(f) for f in factors), I8)


def _draw_pool(network):
    random = network.random
    kernel, strides = (tuple(int(v) for v in random.integers(1, 4, 2)) for _ in "ab")
    pads = [int(random.integers(0, k)) for k in (*kernel, *kernel)]
    size = [k + int(random.integers(0, 5)) for k in kernel]
    kind = str(random.choice(["int.MaxPool", "int.AveragePool"]))
    pool(network, kind, int(random.integers(1, 40)), size, kernel, strides, pads, dtype=I8)


DRAWN = {
    "add": _draw_sum, "conv": _draw_conv, "depthwise": _draw_depthwise, "linear": _draw_linear,
    "pool": _draw_pool,
}  # fmt: skip


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(RANDOM_LAYERS // _BATCH))
@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_random_layers(tmp_path, kind, seed):
    """With vectors, all in one program."""
    network = Network(100 + seed)
    for _ in range(_BATCH):
        DRAWN[kind](network)
    demand_reference(network, tmp_path, ARMV81M, ("cortex-m55",), ("-O2",))
