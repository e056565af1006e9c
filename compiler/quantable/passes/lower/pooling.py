"""Lower pools and means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quantable.ir import QuantableOperation, UnsupportedError
from quantable.passes.lower.bounds import check_sum
from quantable.passes.lower.lowering import Lowering
from quantable.passes.lower.windows import static_dims, window_attributes


def lower_max_pool(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a maximum over windows: on the input's grid, which is also the output's."""
    if len(operation.outputs) > 1 and operation.outputs[1]:
        raise UnsupportedError("indices of a MaxPool are not computed", where=operation.where())
    source = lowering.read(operation, 0)
    kernel = operation.ints_attribute("kernel_shape")
    attributes = window_attributes(operation, source.shape, kernel)
    lowering.emit_moved(operation, "int.MaxPool", [source.name], source.grid, attributes)


def lower_average_pool(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a mean over windows."""
    source, target = lowering.read(operation, 0), lowering.target(operation)
    kernel = operation.ints_attribute("kernel_shape")
    count = math.prod(kernel)
    check_sum(operation, source.grid.largest_steps, count)
    counts = np.arange(1, count + 1, dtype=np.float32)
    form = lowering.requantization
    multiplier = form.multipliers(
        lambda real: real(source.grid.scale) / (real(counts) * real(target.grid.scale))
    )
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "count_include_pad": operation.int_attribute("count_include_pad"),
        **target.attributes,
        **window_attributes(operation, source.shape, kernel),
    }
    name = lowering.add_parameter(f"{operation.name}.multiplier", multiplier, form.dtype)
    lowering.emit(operation, "int.AveragePool", [source.name, name], target, attributes)


def lower_global_average_pool(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a mean over all spatial axes."""
    shape = lowering.graph.shape(operation.inputs[0])
    rank = len(shape) if shape is not None else 0
    _mean(operation, lowering, range(2, rank), keepdims=1)


def lower_reduce_mean(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a mean over axes given as an attribute or as a constant."""
    axes: Sequence[int] = operation.ints_attribute("axes")
    if len(operation.inputs) > 1 and operation.inputs[1]:
        axes = [int(axis) for axis in lowering.graph.array(operation.inputs[1]).reshape(-1)]
    shape = lowering.graph.shape(operation.inputs[0])
    if shape is None:
        raise UnsupportedError("expected a known rank, found none", where=operation.where())
    if not axes and operation.int_attribute("noop_with_empty_axes"):
        raise UnsupportedError("a mean over no axes is an identity", where=operation.where(),
                               help="run 'eliminate-identity' before")  # fmt: skip
    positive = sorted(axis % len(shape) for axis in axes or range(len(shape)))
    _mean(operation, lowering, positive, keepdims=operation.int_attribute("keepdims", 1))


def _mean(
    operation: QuantableOperation, lowering: Lowering, axes: Sequence[int], keepdims: int
) -> None:
    source, target = lowering.read(operation, 0), lowering.target(operation)
    count = math.prod(static_dims(operation, source.shape, axes))
    check_sum(operation, source.grid.largest_steps, count)
    multiplier = lowering.multiplier(
        lambda real: real(source.grid.scale) / (real(count) * real(target.grid.scale))
    )
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "multiplier": multiplier,
        "axes": tuple(axes),
        "keepdims": keepdims,
        **target.attributes,
    }
    lowering.emit(operation, "int.ReduceMean", [source.name], target, attributes)
