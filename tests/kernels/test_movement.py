"""Movement operations against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel
from quantable.backends.c import emit
from quantable.ir import DType

I64 = DType.INT64


def _shape_of(array):
    return tuple(array.shape)


def test_transpose(network, agree):
    cases = ((DType.UINT8, (2, 3, 4, 5), (0, 2, 3, 1)), (DType.INT16, (3, 4), (1, 0)),
             (DType.INT8, (2, 3, 2, 3, 2), (4, 0, 2, 1, 3)))  # fmt: skip
    for dtype, shape, perm in cases:
        out = (dtype, tuple(shape[i] for i in perm))
        network.apply("Transpose", (network.input(dtype, shape),), out, perm=perm)
    found = agree(network)
    for number, (_, _, perm) in enumerate(cases):
        expected = found[f"x{number}"].transpose(0, *(axis + 1 for axis in perm))
        np.testing.assert_array_equal(found[f"y{number}.0"], expected)


def test_concat_and_split(network, agree):
    parts = [network.input(DType.UINT8, (2, width, 3)) for width in (1, 4, 2)]
    constant = network.parameter(network.integers(DType.UINT8, (2, 2, 3)), DType.UINT8)
    network.apply("Concat", (*parts, constant), (DType.UINT8, (2, 9, 3)), axis=-2)
    widths = network.parameter([3, 1, 2], I64)
    whole = network.input(DType.INT16, (2, 6))
    outs = [(DType.INT16, (2, width)) for width in (3, 1, 2)]
    network.apply("Split", (whole, widths), *outs, axis=1)
    found = agree(network)
    expected = np.concatenate([found[f"x{i}"] for i in range(3)], axis=2)
    np.testing.assert_array_equal(found["y0.0"][:, :, :7], expected)
    pieces = [found[f"y1.{i}"] for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=2), found["x3"])


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps", "index"),
    [
        ((1, 0), (4, -1), (0, 1), (1, 1), np.s_[:, 1:4, 0:-1]),
        ((-1,), (-100,), (1,), (-2,), np.s_[:, :, ::-2]),
        ((-100, 4), (100, 1), (-1, 0), (3, -1), np.s_[:, 4:1:-1, ::3]),
    ],
)
def test_slice(network, agree, starts, ends, axes, steps, index):
    shape = np.zeros((1, 6, 7))[index].shape[1:]
    parameters = [network.parameter(p, I64) for p in (starts, ends, axes, steps)]
    x = network.input(DType.INT8, (6, 7))
    network.apply("Slice", (x, *parameters), (DType.INT8, shape))
    found = agree(network)
    np.testing.assert_array_equal(found["y0.0"], found["x0"][index])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(network, agree, mode):
    numpy_mode = {"mode": mode, **({"constant_values": 131} if mode == "constant" else {})}
    widths = ((0, 0), (2, 1), (3, 0))
    pads = network.parameter([2, 3, 1, 0], I64)
    operands = [network.input(DType.UINT8, (4, 5)), pads]
    if mode == "constant":
        operands.append(network.parameter(np.uint8(131), DType.UINT8))
    network.apply("Pad", operands, (DType.UINT8, (7, 8)), mode=mode)
    found = agree(network)
    np.testing.assert_array_equal(found["y0.0"], np.pad(found["x0"], widths, **numpy_mode))


ROWS = (
    ((0, 0), (1, 2), (0, 3), (0, 0)), ((0, 0), (0, 0), (2, 1), (0, 0)),
    ((0, 0), (1, 0), (0, 0), (0, 0)), ((0, 0), (0, 0), (1, 1), (2, 3)),
    ((0, 0), (0, 0), (0, 0), (1, 0)), ((1, 2), (0, 0), (0, 0), (0, 0)),
    ((1, 0), (0, 2), (0, 0), (0, 0)),
)  # fmt: skip
OTHERS = (((0, 0), (1, 1), (1, 1), (0, 1)), ((0, 0), (-1, 2), (0, 3), (0, 0)))


@pytest.mark.parametrize("dtype", [DType.UINT8, DType.INT16])
def test_padded_rows(network, agree, dtype, tmp_path):
    """One axis, two that are neighbours, and what is filled and copied: other axes, cuts."""
    for widths in (*ROWS, *OTHERS):
        shape = [2, 3, 4, 5]
        pads = network.parameter([side for sides in zip(*widths, strict=True) for side in sides],
                                 I64)  # fmt: skip
        operands = [network.input(dtype, shape), pads, network.parameter(np.array(7), dtype)]
        padded = [s + a + b for s, (a, b) in zip(shape, widths, strict=True)]
        network.apply("Pad", operands, (dtype, padded))
    found = agree(network)
    for index, widths in enumerate((*ROWS, OTHERS[0])):
        expected = np.pad(found[f"x{index}"], ((0, 0), *widths), constant_values=7)
        np.testing.assert_array_equal(found[f"y{index}.0"], expected)
    source = (tmp_path / "model.c").read_text("utf-8")
    assert source.count("  q_pad_") == len(ROWS)
    assert source.count("  q_fill_") == len(OTHERS)


def test_gather(network, agree):
    for axis, index in ((0, [2, 0, -1]), (1, [[1, 1], [0, 3]]), (-1, 2)):
        x = network.input(DType.INT16, (3, 4, 5))
        operands = (x, network.parameter(index, I64))
        shape = np.take(np.zeros((3, 4, 5)), index, axis).shape
        network.apply("Gather", operands, (DType.INT16, shape), axis=axis)
    found = agree(network)
    np.testing.assert_array_equal(found["y0.0"], found["x0"][:, [2, 0, -1]])
    np.testing.assert_array_equal(found["y2.0"], found["x2"][..., 2])


def test_gather_with_given_indices(network, agree):
    indices = {DType.INT32: [[2, -1], [0, -6]], DType.INT64: [5]}
    for (dtype, index), axis in zip(indices.items(), (0, 1), strict=True):
        table = network.parameter(network.integers(DType.INT8, (6, 6, 3)), DType.INT8)
        x = network.input(dtype, np.shape(index))
        network.fixed[x] = index
        shape = np.take(np.zeros((6, 6, 3)), index, axis).shape
        network.apply("Gather", (table, x), (DType.INT8, shape), axis=axis)
    agree(network, ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover"))


def test_no_index_reads_outside_of_the_table(network, tmp_path):
    table = network.integers(DType.UINT8, (6, 3))
    x = network.input(DType.INT64, (4,))
    ends = np.iinfo(np.int64)
    network.fixed[x] = [ends.min, -7, 6, ends.max]
    operands = (network.parameter(table, DType.UINT8), x)
    network.apply("Gather", operands, (DType.UINT8, (4, 3)), axis=0)
    emit(network.graph(), tmp_path)
    model = CompiledModel(tmp_path, flags=("-O1", "-fsanitize=undefined"))
    found = model.run(network.samples())["y0.0"]
    np.testing.assert_array_equal(found[0], table[[0, 0, 5, 5]])


def test_reshape_copies_between_the_callers_tensors(network, agree):
    x = network.input(DType.UINT8, (2, 6))
    shape = network.parameter([3, 4], I64)
    network.apply("Reshape", (x, shape), (DType.UINT8, (3, 4)))
    found = agree(network)
    np.testing.assert_array_equal(found["y0.0"].reshape(-1, 2, 6), found["x0"])
