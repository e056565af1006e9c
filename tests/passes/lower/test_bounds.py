"""Proofs of accumulators, against brute force, and what overflows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from quantable.ir import DType, Operation, UnsupportedError
from quantable.passes.lower import bounds
from quantable.passes.lower.bounds import check_weighted_sum, quantized_bias
from quantable.passes.lower.grids import Grid

OPERATION = Operation("conv", "Conv", ("x",), ("y",))


@pytest.mark.parametrize("zero_point", [0, 3, 15])
def test_bound_is_the_largest_partial_sum(zero_point: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(DType.UINT4, 1.0, zero_point, 0, 15)
    weight = np.array([[3, -2, 5]])
    bias = np.array([-4])
    largest = 0
    for xs in itertools.product((0, 15, zero_point), repeat=3):
        terms = [int(w) * (x - zero_point) for w, x in zip(weight[0], xs, strict=True)]
        for order in itertools.permutations([*terms, int(bias[0])]):
            largest = max(largest, *(abs(s) for s in itertools.accumulate(order)))
    monkeypatch.setattr(bounds, "INT32_MAX", largest)
    check_weighted_sum(OPERATION, weight, bias, grid)
    monkeypatch.setattr(bounds, "INT32_MAX", largest - 1)
    with pytest.raises(UnsupportedError, match=r"'conv'.*accumulator can overflow"):
        check_weighted_sum(OPERATION, weight, bias, grid)


def test_bias_overflow_names_the_channel() -> None:
    real = np.array([1.0, -3e5], np.float32)
    scale = np.array([2.0**-13, 2.0**-13], np.float32)
    with pytest.raises(UnsupportedError, match=r"'conv'.*bias overflows int32.*channel 1"):
        quantized_bias(OPERATION, real, scale)
    assert quantized_bias(OPERATION, real, scale * 2).tolist() == [4096, -1228800000]


def test_wide_input_is_refused_by_the_pass(building: Any) -> None:
    network = building.Network({"x": (1, 1024)})
    weight = np.ones((1024, 2), np.float32)
    x, w = network.own("l.in0", "u16", 0, 1), network.weight("l.in1", weight, 1)
    y = network.add(
        "l", "quantable.Linear", ["x", network.parameter("w", weight)], (1, 2), [x, w],
        network.own("l.out0", "u8", 0, 9),
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"'l'.*accumulator can overflow"):
        building.lowered(network.finish(y))
