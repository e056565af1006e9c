"""Kernels of Cortex-M4 and M7 against the reference: as plain C here, as assembly by emulation."""

from __future__ import annotations

import itertools

import pytest

from quantable.adapters.processors import PROCESSORS
from quantable.ir import DType
from quantable.targets.kernel_sets import ARMV7EM
from tests.kernels.conftest import Network
from tests.kernels.emulation import demand_kernels, demand_reference
from tests.kernels.layers import conv, linear, window

U8, I16 = DType.UINT8, DType.INT16
BYTES = {"x_type": U8, "y_type": U8}
CORES = tuple(name for name in PROCESSORS if name.startswith(("cortex-m4", "cortex-m7")))
FLAGS = ("-O2", "-fsanitize=undefined", "-fno-sanitize-recover")


def _add_convs(network):
    """Odd and even channels, runs that are no whole groups, strides, dilations, images."""
    for in_c, out_c in ((1, 5), (3, 8), (4, 1), (8, 6)):
        for kernel, strides, dilations in (
            ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)),
            ((2, 5), (2, 3), (2, 2)), ((10, 4), (2, 2), (1, 1)),
        ):  # fmt: skip
            size, pads = window(network, kernel, dilations)
            conv(network, (in_c, out_c), size, kernel, strides, dilations, pads, batch=2, **BYTES)
    conv(network, (5, 7), (9,), (3,), (2,), (1,), (1, 2), **BYTES)
    conv(network, (8, 7), (6, 7), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), x_type=U8, y_type=I16)


def _add_depthwise(network):
    """Whole fours of channels and not, even and odd numbers of taps."""
    for channels, (kernel, strides, dilations) in itertools.product((3, 8), (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 2)),
    )):  # fmt: skip
        size, pads = window(network, kernel, dilations)
        conv(
            network, (channels,) * 2, size, kernel, strides, dilations, pads, batch=2, depth=True,
            **BYTES,
        )  # fmt: skip
    conv(network, (6, 6), (9,), (3,), (1,), (1,), (1, 1), depth=True, **BYTES)


def _add_linears(network):
    """Few rows, which have a kernel of their own, and many."""
    for rows, y_type, least in itertools.product((1, 3, 7), (U8, I16), (-128, -127)):
        for inner, columns in ((1, 2), (33, 6), (64, 9)):
            linear(network, rows, inner, columns, least, x_type=U8, y_type=y_type)


def _add_sums(network):
    for count, factors in itertools.product((1, 3, 64, 101), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors)


LAYERS = {"add": _add_sums, "conv": _add_convs, "depthwise": _add_depthwise, "linear": _add_linears}
USED = {
    "add": ("q_dsp_add",),
    "conv": ("q_dsp_conv_u8", "q_dsp_conv_u8_joined"), "depthwise": ("q_dsp_depthwise",),
    "linear": (
        "q_dsp_conv_u8", "q_dsp_conv_i16", "q_dsp_conv_u8_joined", "q_dsp_conv_i16_joined",
        "q_dsp_pixels_u8", "q_dsp_pixels_i16", "q_dsp_pixels_u8_joined", "q_dsp_pixels_i16_joined",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_plain_c(network, agree, layers):
    """The same constants without the DSP extension, and nothing undefined."""
    LAYERS[layers](network)
    agree(network, FLAGS, ARMV7EM)


@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_every_form_of_a_kernel_is_tested(tmp_path, layers):
    """With the seed of the default suite: others draw layers that run in portable C, too."""
    network = Network(1)
    LAYERS[layers](network)
    demand_kernels(network, tmp_path, ARMV7EM, USED[layers])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "level"),
    [*((name, "-O2") for name in CORES), ("cortex-m4", "-O3"), ("cortex-m4", "-Os")],
)
@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_emulated(tmp_path, layers, processor, level):
    """With the extension, on an emulated board; without a float unit half of it is in C."""
    network = Network(5)
    LAYERS[layers](network)
    demand_reference(network, tmp_path, ARMV7EM, (processor,), (level,))
