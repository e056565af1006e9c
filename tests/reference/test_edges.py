"""Operations where a tensor has no elements, no axes or one only: what drawn cases found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import ContentStore, Operation
from quantable.reference import run_operation

Array = npt.NDArray[Any]


def _run(kind: str, *given: Array, **attributes: Any) -> Array:
    names = tuple(f"i{k}" for k in range(len(given)))
    operation = Operation("o", kind, names, ("y",), attributes)
    return run_operation(operation, given, store=ContentStore())[0]


@pytest.mark.parametrize(("kind", "expected"), [
    ("ReduceL1", [3, 0.5]), ("ReduceL2", [3, 0.5]), ("ReduceSumSquare", [9, 0.25]),
    ("ReduceSum", [-3, 0.5]), ("ReduceMax", [-3, 0.5]), ("ReduceLogSumExp", [-3, 0.5]),
])  # fmt: skip
def test_a_reduction_over_no_axis_still_squares_and_takes_roots(
    kind: str, expected: Sequence[float]
) -> None:
    x = np.float32([-3, 0.5])
    found = _run(kind, x, noop_with_empty_axes=1)
    np.testing.assert_allclose(found, np.float32(expected), 1e-6)


def test_the_norm_of_a_scalar_is_not_negative() -> None:
    assert _run("ReduceL2", np.asarray(np.float32(-2))) == 2


def test_a_range_away_from_its_limit_is_empty() -> None:
    ends = [np.asarray(value) for value in (5, 1, 1)]
    assert _run("Range", *ends).shape == (0,)
    assert _run("Range", *(np.asarray(v) for v in (1, 5, -1))).shape == (0,)


def test_flattening_nothing_keeps_the_other_sizes() -> None:
    assert _run("Flatten", np.zeros((0, 2), np.float32), axis=-1).shape == (0, 2)


def test_gathering_no_place_of_every_sample_gives_nothing() -> None:
    x, places = np.ones((2, 2), np.float32), np.zeros((2, 0, 1), np.int64)
    assert _run("GatherND", x, places, batch_dims=1).shape == (2, 0)


def test_normalizing_no_channels_gives_nothing() -> None:
    none = np.zeros(0, np.float32)
    x = np.zeros((2, 0), np.float32)
    assert _run("BatchNormalization", x, none, none, none, none).shape == (2, 0)


def test_a_convolution_of_no_elements_is_its_bias_where_windows_lie() -> None:
    x, w = np.zeros((2, 2, 3, 0), np.float32), np.ones((3, 2, 3, 3), np.float32)
    found = _run("Conv", x, w, np.float32([1, 2, 3]), pads=[1, 2, 1, 2])
    assert found.shape == (2, 3, 3, 2)
    np.testing.assert_array_equal(found[1, :, 0, 0], [1, 2, 3])
    assert _run("Conv", x[:0], w).shape[0] == 0
