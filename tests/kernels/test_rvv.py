"""Kernels for vectors of RISC-V against the reference: plain C here, vectors by emulation."""

from __future__ import annotations

import itertools

import pytest

from quantable.targets.kernel_sets import RVV
from tests.kernels import drawn_layers
from tests.kernels.conftest import Network
from tests.kernels.drawn_layers import I16, U8, add_conv, add_linear, add_means
from tests.kernels.emulation import demand_kernels, demand_reference

FLAGS = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover")
LENGTHS = (128, 256, 512)
VECTORS = (*(f"rv64gcv-{n}" for n in LENGTHS), "rv32imac-zve32x-128", "rv64gc")


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.fuzz)])
def network(request):
    """An empty network; few seeds, since five hundred layers of each kind are drawn as well."""
    return Network(request.param)


def _add_convs(network):
    """More channels than a vector and than a block, tiles of pixels and what is left of them."""
    for in_c, out_c in ((1, 5), (3, 70), (17, 130)):
        for kernel, strides, dilations, pads in (
            ((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
            ((2, 5), (2, 3), (2, 2), (0, 3, 1, 0)),
        ):  # fmt: skip
            add_conv(network, (in_c, out_c), (6, 11), kernel, strides, dilations, pads, batch=2)
    add_conv(network, (5, 7), (9,), (3,), (2,), (1,), (1, 2))
    add_conv(network, (8, 7), (6, 7), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), I16)


def _add_depthwise(network):
    """Columns that are shared and that are not, lines longer than what is held, thick borders."""
    for channels, (kernel, strides, dilations, pads) in itertools.product((3, 40, 130), (
        ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
        ((3, 3), (1, 1), (2, 1), (3, 4, 2, 5)), ((3, 3), (2, 3), (1, 2), (1, 1, 1, 1)),
        ((5, 2), (1, 3), (2, 1), (2, 1, 0, 3)), ((3, 3), (1, 2), (1, 1), (0, 4, 3, 3)),
    )):  # fmt: skip
        add_conv(
            network, (channels,) * 2, (7, 19), kernel, strides, dilations, pads, batch=2,
            is_depthwise=True,
        )  # fmt: skip
    add_conv(network, (66, 66), (9,), (3,), (1,), (1,), (1, 1), is_depthwise=True)


def _add_linears(network):
    for rows, y_type in itertools.product((1, 7), (U8, I16)):
        for inner, columns in ((1, 2), (33, 70), (64, 129)):
            add_linear(network, rows, inner, columns, y_type)


def _add_elements(network):
    for count, factors in itertools.product((1, 64, 301), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors)
    for channels, (high, wide) in itertools.product((3, 150), ((1, 1), (7, 6))):
        add_means(network, channels, high, wide)
        _add_maximum(network, channels, high + 1, wide + 1)


def _add_maximum(network, channels, high, wide):
    network.apply(
        "int.MaxPool", (network.input(U8, (2, high, wide, channels)),),
        (U8, (2, high, wide, channels)), kernel_shape=(2, 2), strides=(1, 1), dilations=(1, 1),
        pads=(0, 0, 1, 1), layout="NHWC",
    )  # fmt: skip


def _draw_maximum(network):
    sizes = (int(network.random.integers(1, limit)) for limit in (80, 6, 6))
    _add_maximum(network, *sizes)


LAYERS = {
    "conv": _add_convs, "depthwise": _add_depthwise, "linear": _add_linears,
    "elements": _add_elements,
}  # fmt: skip
USED = {
    "conv": ("q_vector_conv_u8", "q_vector_conv_i16"), "depthwise": ("q_vector_depthwise",),
    "linear": ("q_vector_conv_u8", "q_vector_conv_i16"),
    "elements": ("q_vector_add", "q_vector_mean", "q_maximum_bytes"),
}  # fmt: skip
DRAWN = {**drawn_layers.DRAWN, "maximum": _draw_maximum}


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_plain_c(network, agree, layers):
    """The same constants without vectors, and nothing undefined."""
    LAYERS[layers](network)
    agree(network, FLAGS, RVV)


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_every_layer_has_a_kernel(tmp_path, layers):
    network = Network(1)
    LAYERS[layers](network)
    portable = ("q_conv_", "q_depthwise_", "q_add_", "q_reduce_mean_", "q_max_pool_")
    demand_kernels(network, tmp_path, RVV, USED[layers], portable)


@pytest.mark.slow
def test_vectors_of_every_length_give_the_same_integers(tmp_path):
    network = Network(5)
    for add in LAYERS.values():
        add(network)
    demand_reference(network, tmp_path, RVV, VECTORS)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("layer", sorted(DRAWN))
def test_five_hundred_random_layers(tmp_path, layer, part):
    """Of each kernel, in two programs: with vectors of one length, and of another."""
    network = Network(200 + part)
    for _ in range(250):
        DRAWN[layer](network)
    processors = (("rv64gcv-128",), ("rv32imac-zve32x-256",))
    demand_reference(network, tmp_path, RVV, processors[part], ("-O1",))
