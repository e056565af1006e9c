"""Which positions a Slice takes, by ONNX's clamping."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantable.passes.canonicalize.shapes.indexing import slice_range
from quantable.reference.operations.movement import slice_axis
from quantable.reference.tensors import to_array, to_tensor

BOUNDS = (-99, -9, -5, -2, -1, 0, 1, 3, 5, 99)


@pytest.mark.parametrize("size", [0, 1, 4])
def test_a_slice_has_the_length_that_the_runtime_takes(size: int) -> None:
    x = to_tensor(np.arange(size))
    for start, end, step in itertools.product(BOUNDS, BOUNDS, (-3, -1, 1, 2)):
        taken = to_array(slice_axis(x, 0, start, end, step))
        assert list(slice_range(size, start, end, step)) == taken.tolist()


def test_a_step_backwards_from_before_the_first_position_takes_it() -> None:
    assert list(slice_range(1, -2, -9, -1)) == [0]
    assert list(slice_range(4, -9, -99, -1)) == [0]
