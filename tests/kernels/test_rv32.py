"""Kernels of scalar RISC-V against the reference: as plain C here, as assembly by emulation."""

from __future__ import annotations

import itertools

import pytest

from quantable.targets.kernel_sets import RV32
from tests.kernels.conftest import Network
from tests.kernels.drawn_layers import DRAWN, I16, U8, add_conv, add_linear, add_means
from tests.kernels.emulation import demand_kernels, demand_reference
from tests.kernels.layers import window

FLAGS = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover")


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.fuzz)])
def network(request):
    """An empty network; few seeds, since five hundred layers of each kind are drawn as well."""
    return Network(request.param)


def _add_convs(network):
    """Whole blocks of channels and not, runs of any length, strides, dilations, images."""
    for in_c, out_c in ((1, 5), (3, 8), (4, 1), (8, 6)):
        for kernel, strides, dilations in (
            ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)),
            ((2, 5), (2, 3), (2, 2)), ((10, 4), (2, 2), (1, 1)),
        ):  # fmt: skip
            size, pads = window(network, kernel, dilations)
            add_conv(network, (in_c, out_c), size, kernel, strides, dilations, pads, batch=2)
    add_conv(network, (5, 7), (9,), (3,), (2,), (1,), (1, 2))
    add_conv(network, (8, 7), (6, 7), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), I16)


def _add_depthwise(network):
    """Images that are copied and that are not, thin and thick borders, windows of any shape."""
    for channels, (kernel, strides, dilations) in itertools.product((3, 8), (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 2)), ((3, 3), (1, 2), (2, 1)),
    )):  # fmt: skip
        size, pads = window(network, kernel, dilations)
        add_conv(
            network, (channels,) * 2, size, kernel, strides, dilations, pads, batch=2,
            is_depthwise=True,
        )  # fmt: skip
    for size, stride, pads in (
        ((40, 28), 1, (1, 1, 1, 1)), ((3, 400), 1, (0, 0, 0, 0)), ((20, 21), 2, (1, 0, 0, 1)),
        ((9, 160), 2, (0, 1, 1, 1)), ((4, 300), 1, (2, 1, 1, 2)),
    ):  # fmt: skip
        add_conv(network, (2, 2), size, (3, 3), (stride, stride), (1, 1), pads, is_depthwise=True)
    add_conv(network, (6, 6), (9,), (3,), (1,), (1,), (1, 1), is_depthwise=True)


def _add_linears(network):
    """Tiles of pixels and what is left of them."""
    for rows, y_type in itertools.product((1, 7), (U8, I16)):
        for inner, columns in ((1, 2), (33, 6), (64, 13)):
            add_linear(network, rows, inner, columns, y_type)


def _add_elements(network):
    for count, factors in itertools.product((1, 64, 101), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors)
    for channels, (high, wide) in itertools.product((3, 64), ((1, 1), (7, 6))):
        add_means(network, channels, high, wide)


LAYERS = {
    "conv": _add_convs, "depthwise": _add_depthwise, "linear": _add_linears,
    "elements": _add_elements,
}  # fmt: skip
USED = {
    "conv": ("q_scalar_conv_u8", "q_scalar_conv_i16"), "depthwise": ("q_scalar_depthwise",),
    "linear": ("q_scalar_conv_u8", "q_scalar_conv_i16"),
    "elements": ("q_scalar_add", "q_scalar_mean"),
}  # fmt: skip


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_plain_c(network, agree, layers):
    """The same constants in C, and nothing undefined."""
    LAYERS[layers](network)
    agree(network, FLAGS, RV32)


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_every_layer_has_a_kernel(tmp_path, layers):
    network = Network(1)
    LAYERS[layers](network)
    portable = ("q_conv_", "q_depthwise_", "q_add_", "q_reduce_mean_")
    demand_kernels(network, tmp_path, RV32, USED[layers], portable)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "level"),
    [("rv32imac", "-Os"), ("rv32imac-clang", "-O2"), ("rv32imafc", "-O2")],
)
def test_emulated(tmp_path, processor, level):
    """With the assembly, on cores with and without floats, by gcc and by clang."""
    network = Network(5)
    for add in LAYERS.values():
        add(network)
    demand_reference(network, tmp_path, RV32, (processor,), (level,))


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("layer", sorted(DRAWN))
def test_five_hundred_random_layers(tmp_path, layer, part):
    """Of each kernel, in two programs."""
    network = Network(100 + part)
    for _ in range(250):
        DRAWN[layer](network)
    demand_reference(network, tmp_path, RV32, ("rv32imac",), ("-O1",))
