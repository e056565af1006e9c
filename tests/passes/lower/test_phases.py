"""Transposed convolutions and resizes, as convolutions whose channels become pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantable.ir import QuantizationParameters, UnsupportedError


def _transposed(
    building: Any, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int],
    more: Sequence[int], dilations: Sequence[int], group: int,
) -> int:  # fmt: skip
    """Return the steps between simulation and integers for a random transposed convolution."""
    rng, rank = np.random.default_rng(3), len(kernel)
    sizes = (5, 4)[:rank]
    network = building.Network({"x": ("N", 4, *sizes)})
    weight = rng.normal(size=(4, 6 // group, *kernel)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32)
    x = network.own("c.in0", "u8", -1.5, 2)
    if group == 1:
        w = network.weight("c.in1", weight, 1)
    else:  # one scale: the axis of the weight has fewer entries than there are channels
        w = replace(network.own("c.in1", "i8", -127, 127), quant_min=-127)
        scale = float(np.abs(weight).max()) / 127
        network.rows["c.in1"] = QuantizationParameters("c.in1", (scale,), (0,))
    result = [
        (n - 1) * s + (k - 1) * d + 1 + m - a - b
        for n, s, k, d, m, a, b in zip(
            sizes, strides, kernel, dilations, more, pads[:rank], pads[rank:], strict=True
        )
    ]
    slots = [x, w, building.FREE if group > 1 else network.bias("c.in2", x, w)]
    y = network.add(
        "c", "ConvTranspose", ["x", network.parameter("w", weight), network.parameter("b", bias)],
        ("N", 6, *result), slots, network.own("c.out0", "u8", -5, 7), group=group,
        strides=tuple(strides), pads=tuple(pads), output_padding=tuple(more),
        dilations=tuple(dilations),
    )  # fmt: skip
    steps: int = building.steps_apart(network.finish(y), rng.normal(size=(2, 4, *sizes)))
    return steps


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "more", "dilations"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0), (0, 0), (1, 1)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), (1, 1)),
        ((4, 3), (2, 3), (1, 0, 2, 1), (0, 2), (1, 1)),
        ((1, 2), (3, 1), (0, 0, 0, 0), (2, 0), (1, 1)),
        ((3, 2), (2, 2), (0, 1, 1, 0), (0, 0), (2, 3)),
        ((3,), (2,), (1, 0), (0,), (1,)),
        ((3, 3), (1, 1), (1, 1, 1, 1), (0, 0), (1, 1)),
    ],
)
def test_conv_transpose(
    building: Any, kernel: Any, strides: Any, pads: Any, more: Any, dilations: Any
) -> None:
    assert _transposed(building, kernel, strides, pads, more, dilations, 1) <= 1


def test_conv_transpose_of_two_groups(building: Any) -> None:
    assert _transposed(building, (3, 2), (2, 2), (1, 0, 0, 1), (0, 0), (1, 1), 2) <= 1


def _resized(
    building: Any, sizes: Sequence[int], made: Sequence[int], **attributes: str
) -> tuple[Any, Any]:
    network = building.Network({"x": ("N", 3, *sizes)})
    x = network.own("r.in0", "u8", -1, 2)
    axes, free = tuple(range(2, 2 + len(sizes))), building.FREE
    y = network.add(
        "r", "Resize", ["x", "", "", network.parameter("sizes", np.array(made))],
        ("N", 3, *made), [x, free, free, free], network.overlapped(x), axes=axes, **attributes,
    )  # fmt: skip
    return network, network.finish(y)


PLACES = ("half_pixel", "asymmetric", "pytorch_half_pixel")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("sizes", "made"),
    [((4, 5), (8, 10)), ((4, 4), (12, 4)), ((6, 3), (3, 6)), ((4, 6), (6, 9)), ((5,), (10,)),
     ((4, 4), (4, 4)), ((1, 3), (2, 9))],
)  # fmt: skip
def test_linear_resize(building: Any, sizes: Any, made: Any, place: str) -> None:
    _, graph = _resized(building, sizes, made, mode="linear", coordinate_transformation_mode=place)
    samples = np.random.default_rng(1).uniform(-1, 2, (2, 3, *sizes))
    assert building.steps_apart(graph, samples) <= 1


@pytest.mark.parametrize("place", [*PLACES, "align_corners"])
@pytest.mark.parametrize("rounding", ["floor", "round_prefer_ceil"])
def test_nearest_resize_is_exact(building: Any, place: str, rounding: str) -> None:
    _, graph = _resized(
        building, (4, 5), (9, 7), mode="nearest", nearest_mode=rounding,
        coordinate_transformation_mode=place,
    )  # fmt: skip
    kinds = [op.kind for op in building.lowered(graph).operations]
    assert kinds == ["int.Quantize", "Gather", "Gather", "int.Dequantize"]
    samples = np.random.default_rng(1).uniform(-1, 2, (2, 3, 4, 5))
    assert building.steps_apart(graph, samples) == 0


@pytest.mark.parametrize(
    ("sizes", "made", "place", "message"),
    [((4, 4), (8, 8), "align_corners", "weights repeat every 2 pixels"),
     ((4, 4), (32, 32), "half_pixel", "numerators up to 127")],
)  # fmt: skip
def test_what_has_no_integer_form_says_why(
    building: Any, sizes: Any, made: Any, place: str, message: str
) -> None:
    _, graph = _resized(building, sizes, made, mode="linear", coordinate_transformation_mode=place)
    with pytest.raises(UnsupportedError, match=message):
        building.lowered(graph)
