"""Kernels of Cortex-M4 and M7 against the reference: as plain C here, as assembly by emulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantable.adapters.cortex_m import EmulatedModel
from quantable.adapters.emulator import PROCESSORS, missing_tools
from quantable.backends.c import emit
from quantable.ir import DType
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import ARMV7EM
from tests.kernels.conftest import Network

U8, I8, I16 = DType.UINT8, DType.INT8, DType.INT16
FLAGS = ("-O2", "-fsanitize=undefined", "-fno-sanitize-recover")


def _conv(network, channels, size, kernel, strides, dilations, pads, y_type=U8, batch=1, depth=0):
    random, rank = network.random, len(kernel)
    in_c, out_c = channels
    group = in_c if depth else 1
    axes = zip(size, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    out = [(s + a + b - d * (k - 1) - 1) // st + 1 for s, k, st, d, a, b in axes]
    x = network.input(U8, [batch, *size, in_c])
    shape = (out_c, in_c // group, *kernel)
    least = int(random.choice([-128, -127]))  # two weights of the latter fit one number
    weight = network.parameter(random.integers(least, 128, shape), DType.INT8)
    bias = network.parameter(random.integers(-5000, 5000, out_c), DType.INT32)
    reach = 100.0 * np.sqrt(np.prod(shape[1:])) * 255
    multiplier = network.parameter(network.multipliers(out_c, y_type, reach), DType.FLOAT32)
    network.apply(
        "int.Conv", (x, weight, bias, multiplier), (y_type, [batch, *out, out_c]),
        x_zero_point=network.zero_point(U8), group=group, layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations),
        pads=tuple(pads), **network.requantization(y_type),
    )  # fmt: skip


def _window(network, kernel, dilations):
    """Draw sizes that the window fits in, and borders up to far outside."""
    pads = [int(network.random.integers(0, 4)) for _ in (*kernel, *kernel)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [span + int(network.random.integers(0, 6)) for span in spans], pads


def _linear(network, rows, inner, columns, least, y_type=U8):
    """Add a linear layer; its last channel is one that no input changes."""
    random = network.random
    weight = random.integers(least, 128, (inner, columns))
    if least == -128 and inner > 1:
        weight[:2, 0] = -1, -128  # what does not fit one 16-bit number
    bias = random.integers(-9999, 9999, columns)
    multiplier = network.multipliers(columns, y_type, 1e5)
    bias[-1], multiplier[-1] = 2**30, 1e-8
    operands = (
        network.input(U8, (rows, inner)), network.parameter(weight, DType.INT8),
        network.parameter(bias, DType.INT32), network.parameter(multiplier, DType.FLOAT32),
    )  # fmt: skip
    network.apply(
        "int.Linear", operands, (y_type, (rows, columns)), x_zero_point=network.zero_point(U8),
        **network.requantization(y_type),
    )  # fmt: skip


def _add_convs(network):
    """Odd and even channels, runs that are no whole groups, strides, dilations, images."""
    for in_c, out_c in ((1, 5), (3, 8), (4, 1), (8, 6)):
        for kernel, strides, dilations in (
            ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)),
            ((2, 5), (2, 3), (2, 2)), ((10, 4), (2, 2), (1, 1)),
        ):  # fmt: skip
            size, pads = _window(network, kernel, dilations)
            _conv(network, (in_c, out_c), size, kernel, strides, dilations, pads, batch=2)
    _conv(network, (5, 7), (9,), (3,), (2,), (1,), (1, 2))
    _conv(network, (8, 7), (6, 7), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), I16)


def _add_depthwise(network):
    """Whole fours of channels and not, even and odd numbers of taps."""
    for channels, (kernel, strides, dilations) in itertools.product((3, 8), (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 2)),
    )):  # fmt: skip
        size, pads = _window(network, kernel, dilations)
        _conv(network, (channels,) * 2, size, kernel, strides, dilations, pads, batch=2, depth=1)
    _conv(network, (6, 6), (9,), (3,), (1,), (1,), (1, 1), depth=1)


def _add_linears(network):
    """Few rows, which have a kernel of their own, and many."""
    for rows, y_type, least in itertools.product((1, 3, 7), (U8, I16), (-128, -127)):
        for inner, columns in ((1, 2), (33, 6), (64, 9)):
            _linear(network, rows, inner, columns, least, y_type)


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
    emit(network.graph(), tmp_path, kernels=ARMV7EM)
    source = (tmp_path / "model.c").read_text("utf-8")
    assert all(f"  {function}(" in source for function in USED[layers])
    assert "  q_conv_" not in source
    assert "  q_depthwise_" not in source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "level"),
    [*((name, "-O2") for name in sorted(PROCESSORS)), ("cortex-m4", "-O3"), ("cortex-m4", "-Os")],
)
@pytest.mark.parametrize("layers", sorted(LAYERS))
def test_emulated(tmp_path, layers, processor, level):
    """With the extension, on an emulated board; without a float unit half of it is in C."""
    if missing_tools():
        pytest.skip(f"needs {', '.join(missing_tools())}")
    network = Network(5)
    LAYERS[layers](network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=ARMV7EM)
    found = EmulatedModel(tmp_path, flags=(level,), processor=processor).run(samples)
    reference = ReferenceRuntime(graph)
    for vector in range(len(found.instructions)):
        expected = reference.run({name: array[vector] for name, array in samples.items()})
        for name, array in expected.items():
            operation = graph.producers[name]
            np.testing.assert_array_equal(
                found.outputs[name][vector], array, f"{operation.kind} {dict(operation.attributes)}"
            )
