"""Lower Softmax and LayerNormalization."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantable.ir import DType, QuantableOperation, UnsupportedError
from quantable.passes.lower.grids import Grid
from quantable.passes.lower.lowering import Lowering, Target, Tensor
from quantable.passes.lower.windows import static_dims

_Q30 = float(1 << 30)
_GAMMA_MAX = 32767
_NORMALIZED_ONE = 16384
_INT63 = 1 << 62


def lower_softmax(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a softmax; along another axis than the last one between two transposes.

    An output row that is not a power of two which fits the type gets a 16-bit softmax and a change
    of scale.
    """
    source, target = lowering.read(operation, 0), lowering.target(operation)
    rank = len(source.shape) if source.shape is not None else 0
    axis = operation.int_attribute("axis", -1) % max(rank, 1)
    if rank == 0:
        raise UnsupportedError("expected a known rank, found none", where=operation.where())
    perm = (*(i for i in range(rank) if i != axis), axis)
    last = axis == rank - 1
    moved = source if last else _transposed(operation, lowering, source, perm)
    natural = _softmax_grid(target)
    result = _softmax(operation, lowering, moved, natural, target if last else None)
    if result is None:
        return
    if not last:
        inverse = tuple(int(i) for i in np.argsort(perm))
        if natural == target.grid:
            attributes = {"perm": inverse}
            lowering.emit(operation, "Transpose", [result.name], target, attributes)
            return
        result = _transposed(operation, lowering, result, inverse)
    _requantize(operation, lowering, result, target)


def _softmax(
    operation: QuantableOperation,
    lowering: Lowering,
    source: Tensor,
    grid: Grid,
    target: Target | None,
) -> Tensor | None:
    """Add the softmax itself: as the target where that is its grid, else as a new value."""
    high, low = _exponentials(source.grid)
    inputs = [
        source.name,
        lowering.add_parameter(f"{operation.name}.high", high, DType.UINT32),
        lowering.add_parameter(f"{operation.name}.low", low, DType.UINT32),
    ]
    fraction_bits = -round(math.log2(grid.scale))
    attributes = {"y_zero_point": grid.zero_point, "fraction_bits": fraction_bits}
    if target is not None and target.grid == grid:
        lowering.emit(operation, "int.Softmax", inputs, target, attributes)
        return None
    name = lowering.add_value(f"{operation.outputs[0]}.softmax", grid.dtype, source.shape)
    lowering.add_operation(
        f"{operation.name}.softmax", "int.Softmax", inputs, [name], attributes, operation.sources
    )
    return Tensor(name, grid, source.shape)


def _exponentials(grid: Grid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the Q30 tables of exp(-scale * 256 * i) and of exp(-scale * i)."""
    count = 1 if grid.dtype.bits == 8 else 256
    high = [round(_Q30 * math.exp(-grid.scale * 256 * i)) for i in range(count)]
    low = [round(_Q30 * math.exp(-grid.scale * i)) for i in range(256)]
    return np.array(high), np.array(low)


def _softmax_grid(target: Target) -> Grid:
    """Return the target's grid if a softmax can write it, else 16 bits unsigned."""
    grid = target.grid
    mantissa, exponent = math.frexp(grid.scale)
    bits = 1 - exponent
    top = (1 << bits) - 1 + grid.zero_point if 0 < bits <= 16 else math.inf
    unclamped = target.clamp_min <= grid.zero_point and target.clamp_max >= top
    fits = grid.dtype.minimum <= grid.zero_point and top <= grid.dtype.maximum
    if mantissa == 0.5 and fits and unclamped:
        return grid
    return Grid(DType.UINT16, 2.0**-16, 0, 0, 65535)


def _transposed(
    operation: QuantableOperation, lowering: Lowering, source: Tensor, perm: tuple[int, ...]
) -> Tensor:
    shape = None if source.shape is None else tuple(source.shape[i] for i in perm)
    name = lowering.add_value(f"{source.name}.transposed", source.grid.dtype, shape)
    lowering.add_operation(
        f"{operation.name}.transpose", "Transpose", [source.name], [name], {"perm": perm},
        operation.sources,
    )  # fmt: skip
    return Tensor(name, source.grid, shape)


def _requantize(
    operation: QuantableOperation, lowering: Lowering, source: Tensor, target: Target
) -> None:
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "multiplier": lowering.multiplier(
            lambda real: real(source.grid.scale) / real(target.grid.scale)
        ),
        **target.attributes,
    }
    lowering.emit(operation, "int.Requantize", [source.name], target, attributes)


def lower_layer_normalization(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a layer normalization over the last axis."""
    if lowering.requantization.is_fixed_point:
        raise UnsupportedError(
            "expected a float multiplier: a layer normalization has accumulators of more than 32 "
            f"bits, found {lowering.requantization.name}",
            where=operation.where(), help="choose a target whose arithmetic is 'float32-rne'",
        )  # fmt: skip
    source, target = lowering.read(operation, 0), lowering.target(operation)
    (size,) = static_dims(operation, source.shape, (-1,))
    rank = len(source.shape or ())
    if operation.int_attribute("axis", -1) not in (-1, rank - 1) or any(operation.outputs[1:]):
        raise UnsupportedError(
            "expected a normalization over the last axis with one output",
            where=operation.where(),
        )
    epsilon = _epsilon(operation, source.grid, size)
    gamma = _parameter(operation, lowering, 1, size, default=1.0)
    beta = _parameter(operation, lowering, 2, size, default=0.0)
    step = (float(np.abs(gamma).max()) or 1.0) / _GAMMA_MAX
    scale = step / _NORMALIZED_ONE
    inputs = [
        source.name,
        lowering.add_parameter(
            operation.inputs[1], np.rint(gamma / step).astype(np.int64), DType.INT32
        ),
        lowering.add_parameter(
            (*operation.inputs, "", "")[2] or f"{operation.name}.beta",
            np.rint(beta / scale).astype(np.int64), DType.INT64,
        ),
    ]  # fmt: skip
    attributes = {
        "epsilon": epsilon,
        "multiplier": float(np.float32(scale / target.grid.scale)),
        **target.attributes,
    }
    lowering.emit(operation, "int.LayerNormalization", inputs, target, attributes)


def _parameter(
    operation: QuantableOperation, lowering: Lowering, slot: int, size: int, default: float
) -> npt.NDArray[np.float64]:
    real = lowering.reals(operation, slot)
    if real is None:
        return np.full(size, default)
    return np.broadcast_to(real.astype(np.float64).reshape(-1), (size,))


def _epsilon(operation: QuantableOperation, grid: Grid, size: int) -> int:
    """Return epsilon in units of the scaled variance, and prove that this fits int64.

    The variance ``D * s2 - s1 * s1`` is at most ``D * D * q * q`` with q the largest integer.
    """
    given = operation.attributes.get("epsilon", 1e-5)
    assert isinstance(given, float | int)
    epsilon = max(1, round(size * size * float(np.float32(given)) / (grid.scale * grid.scale)))
    largest = max(grid.dtype.maximum, -grid.dtype.minimum)
    if size * size * largest * largest + epsilon >= _INT63:
        raise UnsupportedError(
            f"the variance over {size} elements of scale {grid.scale:.3g} does not fit int64",
            where=operation.where(),
        )
    return epsilon
