"""Winograd's filtering of bytes gives the sums of the reference, however large they are."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from quantable.backends.c import emit
from quantable.ir import DType
from quantable.targets.kernel_sets import X86
from tests.kernels import vector_layers as layers
from tests.kernels.conftest import Network
from tests.kernels.test_x86 import vector_flags

U8, I16 = DType.UINT8, DType.INT16
FLAGS = ("-O1",)


@pytest.fixture(params=["avx2", "avx512", "avxvnni"])
def vectors(request):
    """The name of a set of vectors."""
    return request.param


def _forms(network, folder, vectors):
    """Return what was chosen, by bytes from one window to the next."""
    emit(network.graph(), folder, kernels=X86)
    source = (folder / "model.c").read_text("utf-8")
    macro = "Q_WINOGRAD" if vectors == "avx2" else "Q_DOT_WINOGRAD"
    found = re.findall(
        rf"#define Q_PIXEL (\d+)\n(?:#define .*\n){{0,2}}#define {macro} (\d+)", source
    )
    return {(int(channels), int(form)) for channels, form in found}


@pytest.mark.parametrize(("channels", "stride"), [(16, 1), (80, 1), (80, 2)])
@pytest.mark.parametrize("y_type", [U8, I16])
def test_blocks_of_every_number_of_vectors(agree, channels, y_type, stride, tmp_path):
    """Tiles that hang over both borders, groups that images share, lanes without a channel."""
    network = Network(11)
    for outputs in (17, 40, 48, 66):
        size = (stride * (5 + outputs % 7), stride * (6 + outputs % 5))
        strides = (stride, stride)
        layers.add_conv(network, (channels, outputs), size, (3, 3), strides, (1, 1), y_type, 2)
    chosen = {form for _, form in _forms(network, tmp_path, "avx2")}
    assert chosen & ({22} if stride == 2 else {2, 4})
    agree(network, vector_flags("avx2", FLAGS), X86)


@pytest.mark.parametrize("channels", [32, 48, 96])
@pytest.mark.parametrize("vectors", ["avx512", "avxvnni"])
def test_blocks_where_sums_of_four_products_are_one_instruction(agree, channels, vectors, tmp_path):
    """Two tiles share a vector where channels are no whole vectors; the last may have none."""
    network = Network(12)
    for outputs, y_type in ((40, U8), (48, U8), (66, I16), (128, U8)):
        size = (13 + outputs % 4, 14 + outputs % 5)
        layers.add_conv(network, (channels, outputs), size, (3, 3), (1, 1), (1, 1), y_type, 2)
    assert 4 in {form for _, form in _forms(network, tmp_path, vectors)}
    agree(network, vector_flags(vectors, FLAGS), X86)


def _add_sums(network, channels, weights, value, stride=1):
    """Add a layer whose inputs are all `value`."""
    x = network.input(U8, (1, 14, 14, channels))
    edge = 12 // stride
    network.fixed[x] = value
    operands = (
        x, network.parameter(np.broadcast_to(weights, (32, channels, 3, 3)), DType.INT8),
        network.parameter(np.arange(32) - 8, DType.INT32),
        network.parameter(np.full(32, 3e-6), DType.FLOAT32),
    )  # fmt: skip
    network.apply(
        "int.Conv", operands, (U8, [1, edge, edge, 32]), x_zero_point=0, group=1, layout="NHWC",
        kernel_shape=(3, 3), strides=(stride, stride), dilations=(1, 1), pads=(0,) * 4,
        y_zero_point=128, clamp_min=0, clamp_max=255,
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "form"), [(112, 4), (128, 2), (320, 2), (128, 22)])
@pytest.mark.parametrize("weight", [127, -127])
def test_largest_sums_come_back_whole(agree, channels, form, weight, tmp_path):
    """Tiles of 4 x 4 below 2**25, smaller ones above."""
    network, stride = Network(5), 2 if form == 22 else 1
    for value in (0, 255):
        _add_sums(network, channels, np.full((1, 1, 3, 3), weight), value, stride)
    assert _forms(network, tmp_path, "avx2") == {(channels * stride, form)}
    agree(network, vector_flags("avx2", FLAGS), X86)


def test_inputs_and_weights_that_transforms_make_largest_fit_16_bits(agree, vectors, tmp_path):
    """In every row of B', one of these patterns has the signs of its factors, or their opposite."""
    network, patterns = Network(6), np.array([[1, 1, -1, -1], [1, -1, -1, 1]])
    for row, columns in itertools.product(patterns, patterns):
        signs = np.tile(np.outer(row, columns), (4, 4))[:14, :14]
        image = np.where(signs > 0, 255, 0)[None, :, :, None]
        for taps in ((1, 1, 1), (1, -1, 1)):
            weights = np.where(np.outer(taps, taps) > 0, 127, -128)
            _add_sums(network, 64, weights[None, None], np.broadcast_to(image, (1, 14, 14, 64)))
    assert _forms(network, tmp_path, vectors) == {(64, 4)}
    agree(network, vector_flags(vectors, FLAGS), X86)


def test_a_layer_that_would_fill_the_stack_is_computed_directly(tmp_path):
    network = Network(7)
    layers.add_conv(network, (4096, 16), (6, 6), (3, 3), (1, 1), (1, 1))
    assert _forms(network, tmp_path, "avx2") == {(4096, 0)}
