"""Lower Resize: copies where it takes the nearest pixel, a convolution where it interpolates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Attribute, DType, Operation, QuantableOperation, UnsupportedError
from quantable.passes.lower.lowering import Lowering, Tensor
from quantable.passes.lower.phases import Phases, emit_shuffled
from quantable.passes.lower.windows import static_dims

Matrix = npt.NDArray[np.float64]
_LARGEST_WEIGHT = 127
_POSITIONS = 9
"""Positions of an axis on which the weights of the phases are looked at, away from its ends."""


@dataclass(frozen=True)
class _Resized:
    """A resize along one axis.

    Attributes:
        whole: What it does, [made, size].
        inner: The same by the same factor on an axis of `_POSITIONS` positions.
        phases, stride: Output and input pixels from one position to the next.
    """

    whole: Matrix
    inner: Matrix
    phases: int
    stride: int


def lower_resize(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a resize of one or two spatial axes by the nearest pixel, or linear.

    What it computes along each axis is read off the runtime's own: a matrix.
    """
    source = lowering.read(operation, 0)
    rank = len(source.shape or ())
    result = lowering.graph.shape(operation.outputs[0])
    sizes = static_dims(operation, source.shape, range(1, rank))
    made = static_dims(operation, result, range(1, rank))
    if rank not in (3, 4) or sizes[0] != made[0]:
        raise UnsupportedError(
            f"expected a resize of one or two spatial axes, found {source.shape} -> {result}",
            where=operation.where(),
        )
    matrices = _matrices(operation, lowering, sizes, made)
    if operation.string_attribute("mode", "nearest") == "nearest":
        _lower_nearest(operation, lowering, source, matrices)
    else:
        _lower_linear(operation, lowering, source, matrices)


def _matrices(
    operation: QuantableOperation, lowering: Lowering, sizes: Sequence[int], made: Sequence[int]
) -> list[_Resized]:
    """Return what the resize does along every spatial axis: it is separable."""
    factors = _factors(operation, lowering, len(made) + 1)
    found = []
    for i, (size, count) in enumerate(zip(sizes[1:], made[1:], strict=True)):
        common = math.gcd(size, count)
        phases, stride = count // common, size // common
        factor = None if factors is None else factors[2 + i]
        whole = _matrix(operation, lowering, size, count, factor)
        inner = _matrix(operation, lowering, stride * _POSITIONS, phases * _POSITIONS, factor)
        found.append(_Resized(whole, inner, phases, stride))
    return found


def _factors(
    operation: QuantableOperation, lowering: Lowering, rank: int
) -> npt.NDArray[np.float32] | None:
    """Return the factor of every axis, None where sizes are given."""
    if len(operation.inputs) < 3 or not operation.inputs[2]:
        return None
    factors = np.ones(rank, np.float32)
    axes = operation.ints_attribute("axes") or tuple(range(rank))
    factors[list(axes)] = lowering.graph.array(operation.inputs[2])
    return factors


def _matrix(
    operation: QuantableOperation,
    lowering: Lowering,
    size: int,
    made: int,
    factor: np.float32 | None,
) -> Matrix:
    """Return what the runtime's resize does with every unit vector, [made, size]."""
    attributes = {k: v for k, v in operation.attributes.items() if k != "axes"}
    x = np.eye(size, dtype=np.float32)[:, None]
    if factor is None:
        names, operands = ("x", "", "", "sizes"), [x, None, None, np.array([size, 1, made])]
    else:
        scales = np.array([1, 1, factor], np.float32)
        names, operands = ("x", "", "scales", ""), [x, None, scales, None]
    plain = Operation(operation.name, "Resize", names, ("y",), attributes)
    (y,) = lowering.executor.run_operation(plain, operands)
    if y.shape != (size, 1, made):
        raise UnsupportedError(
            f"expected a factor of exactly {made}/{size}, found {factor}",
            where=operation.where(), help="give the resize its sizes in place of factors",
        )  # fmt: skip
    return np.ascontiguousarray(y[:, 0].T.astype(np.float64))


def _lower_nearest(
    operation: QuantableOperation, lowering: Lowering, source: Tensor, matrices: Sequence[_Resized]
) -> None:
    """Gather along every axis that changes."""
    found = [m.whole for m in matrices]
    axes = [i for i, m in enumerate(found) if not np.array_equal(m, np.eye(*m.shape))]
    name, shape = source.name, list(source.shape or ())
    for axis in axes[:-1] if axes else []:
        indices = _indices(operation, lowering, found[axis])
        shape[2 + axis] = len(found[axis])
        moved = lowering.add_value(f"{operation.outputs[0]}.moved", source.grid.dtype, tuple(shape))
        lowering.add_operation(
            f"{operation.name}.along{axis}", "Gather", [name, indices], [moved],
            {"axis": 2 + axis}, operation.sources,
        )  # fmt: skip
        name = moved
    last = axes[-1] if axes else 0
    indices = _indices(operation, lowering, found[last])
    lowering.emit_moved(operation, "Gather", [name, indices], source.grid, {"axis": 2 + last})


def _indices(operation: QuantableOperation, lowering: Lowering, matrix: Matrix) -> str:
    indices = matrix.argmax(axis=1)
    return lowering.add_parameter(f"{operation.name}.indices", indices, DType.INT64)


@dataclass(frozen=True)
class _Axis:
    """A linear resize along one axis, as a convolution.

    Attributes:
        weights: [phases, taps], integers.
        steps: What the integers are multiples of, inverted.
        stride: Input pixels from one position to the next.
        pads: Pixels that repeat the first and the last one.
        count: Positions.
    """

    weights: npt.NDArray[np.int64]
    steps: int
    stride: int
    pads: tuple[int, int]
    count: int


def _lower_linear(
    operation: QuantableOperation, lowering: Lowering, source: Tensor, matrices: Sequence[_Resized]
) -> None:
    """Convolve every channel with the weights of all phases; borders repeat the last pixel."""
    axes = [_convolved(operation, matrix) for matrix in matrices]
    target = lowering.target(operation)
    steps = math.prod(axis.steps for axis in axes)
    kernel = axes[0].weights
    for axis in axes[1:]:
        kernel = np.einsum("pt,qu->pqtu", kernel, axis.weights)
    rank = len(axes)
    phases, taps = kernel.shape[:rank], kernel.shape[rank:]
    if kernel.max() > _LARGEST_WEIGHT:
        raise _inexact(operation, f"the largest would be {kernel.max()}")
    channels = int((source.shape or ())[1])
    count = math.prod(phases)
    weight = np.tile(kernel.reshape(count, 1, *taps), (channels, 1, *(1,) * rank))
    form = lowering.requantization
    multiplier = form.multipliers(
        lambda real: real(source.grid.scale) / (real(steps) * real(target.grid.scale))
    )
    inputs = [
        _padded(operation, lowering, source, axes),
        lowering.add_parameter(f"{operation.name}.weight", weight, DType.INT8),
        lowering.add_parameter(
            f"{operation.name}.bias", np.zeros(channels * count, np.int64), DType.INT32
        ),
        lowering.add_parameter(
            f"{operation.name}.multiplier", np.full(channels * count, multiplier), form.dtype
        ),
    ]
    attributes: dict[str, Attribute] = {
        "x_zero_point": source.grid.zero_point, "group": channels, **target.attributes,
        "kernel_shape": taps, "strides": tuple(axis.stride for axis in axes),
        "dilations": (1,) * rank, "pads": (0,) * (2 * rank),
    }  # fmt: skip
    sizes = tuple(axis.count for axis in axes)
    result = tuple(len(matrix.whole) for matrix in matrices)
    where = Phases(channels, phases, sizes, (0,) * rank, result)
    emit_shuffled(operation, lowering, inputs, attributes, target, where)


def _padded(
    operation: QuantableOperation, lowering: Lowering, source: Tensor, axes: Sequence[_Axis]
) -> str:
    begins, ends = ([axis.pads[side] for axis in axes] for side in (0, 1))
    if not any((*begins, *ends)):
        return source.name
    shape = list(source.shape or ())
    for i, axis in enumerate(axes):
        shape[2 + i] = int(shape[2 + i]) + sum(axis.pads)
    pads = np.array([0, 0, *begins, 0, 0, *ends], np.int64)
    name = lowering.add_value(f"{operation.outputs[0]}.padded", source.grid.dtype, tuple(shape))
    lowering.add_operation(
        f"{operation.name}.pad", "Pad",
        [source.name, lowering.add_parameter(f"{operation.name}.pads", pads, DType.INT64)],
        [name], {"mode": "edge"}, operation.sources,
    )  # fmt: skip
    return name


def _convolved(operation: QuantableOperation, resized: _Resized) -> _Axis:
    """Find the weights of the phases, and prove that they give the matrix.

    Raises:
        UnsupportedError: They do not (corners that are aligned, for instance), or are no fractions
            of 8 bits.
    """
    phases, stride = resized.phases, resized.stride
    made, size = resized.whole.shape
    steps = _denominator(operation, resized.inner)
    whole, inner = (np.rint(m * steps).astype(np.int64) for m in (resized.whole, resized.inner))
    middle = _POSITIONS // 2
    rows = inner[phases * middle : phases * (middle + 1)]
    taps = np.flatnonzero(rows.any(axis=0)) - stride * middle
    low, high = min(int(taps.min()), 0), int(taps.max())
    weights = rows[:, stride * middle + low : stride * middle + high + 1]
    if not np.array_equal(_rebuilt(weights, low, stride, whole.shape), whole):
        raise UnsupportedError(
            f"expected a resize from {size} to {made} pixels whose weights repeat every {phases} "
            "pixels, found others",
            where=operation.where(),
            help="use coordinate_transformation_mode 'half_pixel' or 'asymmetric', not "
            "'align_corners'",
        )
    count = made // phases
    ends = (-low, max(stride * (count - 1) + high - (size - 1), 0))
    return _Axis(weights, steps, stride, ends, count)


def _rebuilt(
    weights: npt.NDArray[np.int64], low: int, stride: int, shape: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return the matrix that the convolution computes on an axis whose ends are repeated."""
    made, size = shape
    rebuilt = np.zeros((made, size), np.int64)
    for row in range(made):
        position, phase = divmod(row, len(weights))
        for tap, weight in enumerate(weights[phase]):
            rebuilt[row, min(max(stride * position + low + tap, 0), size - 1)] += weight
    return rebuilt


def _denominator(operation: QuantableOperation, matrix: Matrix) -> int:
    for steps in range(1, _LARGEST_WEIGHT + 1):
        if np.allclose(matrix * steps, np.rint(matrix * steps), atol=1e-4):
            return steps
    raise _inexact(operation, "they are not")


def _inexact(operation: QuantableOperation, found: str) -> UnsupportedError:
    return UnsupportedError(
        f"expected weights of a linear resize that are fractions with numerators up to "
        f"{_LARGEST_WEIGHT}, found that {found}",
        where=operation.where(), help="resize by a factor from 2 to 5, or in several steps",
    )  # fmt: skip
