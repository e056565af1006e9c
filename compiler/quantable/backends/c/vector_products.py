"""Convolutions and linear layers for kernels with vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.backends.c.gemm import Gemm
from quantable.backends.c.packing import (
    QUAD,
    Block,
    Outputs,
    cut,
    packed_channels,
    packed_columns,
    packed_weights,
)
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.vectors import VectorKernels
from quantable.backends.c.windows import (
    Window,
    fold_zero_point,
    is_rounded_without_clamp,
    kernel_weight,
    window,
)
from quantable.ir import DType


def emit_conv(step: Step, kernels: VectorKernels) -> bool:
    """int.Conv without padding, channels last, on unsigned bytes; of one group, or depthwise."""
    op = step.operation
    if op.string_attribute("layout", "NCHW") != "NHWC" or any(op.ints_attribute("pads")):
        return False
    if not _is_suited(step, kernels):
        return False
    group, geometry = op.int_attribute("group"), window(step)
    if group == geometry.in_c == geometry.out_c > 1:
        return _emit_depthwise(step, geometry, kernels)
    return group == 1 and _emit_conv(step, geometry, kernels)


def _emit_conv(step: Step, geometry: Window, kernels: VectorKernels) -> bool:
    op = step.operation
    x, y = step.shape(step.input(0)), step.shape(step.output())
    wide, channels = x[-2], x[-1]
    strides, dilations = ((1, *op.ints_attribute(n))[-2:] for n in ("strides", "dilations"))
    weight = np.moveaxis(kernel_weight(step).reshape(y[-1], channels, *geometry.taps), 1, -1)
    image = math.prod(x[1:])
    rows, columns = geometry.taps
    outputs = Outputs(math.prod(y[1:-2]), y[-2])
    if dilations[1] == 1:
        columns, run = 1, columns * channels
    else:
        run = channels
    line, pixel = strides[0] * wide * channels, strides[1] * channels
    images = x[0]
    if rows == columns == 1 and run == channels and line == pixel * outputs.pixels:
        # A point reads one pixel: all pixels of all images are one line.
        outputs, images = Outputs(1, images * outputs.lines * outputs.pixels), 1
    return _emit(step, kernels, Gemm(
        images, image, outputs, line, pixel, rows, columns, run,
        dilations[0] * wide * channels, dilations[1] * channels,
        weight.reshape(y[-1], rows * columns, run),
    ))  # fmt: skip


def emit_linear(step: Step, kernels: VectorKernels) -> bool:
    """int.Linear on unsigned bytes."""
    if not _is_suited(step, kernels):
        return False
    x = step.shape(step.input(0))
    weight = kernel_weight(step)
    count, inner = math.prod(x[:-1]), x[-1]
    return _emit(step, kernels, Gemm(
        1, 0, Outputs(1, count), 0, inner, 1, 1, inner, 0, 0, weight.T[:, None],
    ))  # fmt: skip


def _emit_depthwise(step: Step, geometry: Window, kernels: VectorKernels) -> bool:
    op, y = step.operation, step.output()
    x, out = step.shape(step.input(0)), step.shape(y)
    if y.dtype is not DType.UINT8 or (1, *op.ints_attribute("dilations"))[-1] != 1:
        return False
    channels, (rows, columns) = geometry.in_c, geometry.taps
    weight = kernel_weight(step).reshape(channels, rows, columns)
    step.macs = math.prod(out) * rows * columns
    lanes = kernels.layout.lanes * kernels.column_vectors
    neighbours = _joined_pixels(step, channels, lanes) if kernels.joins_pixels else 1
    facts = _columns_facts(step, geometry, neighbours, kernels)
    function = step.instance(
        "q_columns", kernels.header("columns"), {key: str(value) for key, value in facts.items()},
        "_".join(map(str, facts.values())),
    )  # fmt: skip
    weight, bias = np.tile(weight, (neighbours, 1, 1)), np.tile(step.array(2), neighbours)
    held = len(weight)
    block = Block(kernels.column_vectors, -(-held // lanes), 0, held)
    packed = packed_columns(kernels.layout, weight, block)
    multiplier = np.broadcast_to(step.array(3).astype(np.float32).reshape(-1), (channels,))
    images = [str(x[0]), str(math.prod(x[1:]))]
    step.shared_call(
        function,
        step.parameters("q_columns", [*images, step.requantization()]),
        step.pointer(step.input(0).name),
        step.constant("weight", packed, DType.INT8, kernels.alignment),
        _bias(step, kernels, bias, weight.reshape(held, -1), block),
        _channels(step, kernels, "multiplier", [np.tile(multiplier, neighbours)], block),
        step.pointer(y.name),
    )
    return True


def _joined_pixels(step: Step, channels: int, lanes: int) -> int:
    """Return how many neighbours of a line fill the lanes of a block, where windows move by one."""
    stride = (1, *step.operation.ints_attribute("strides"))[-1]
    is_joined = stride == 1 and lanes % channels == 0 and step.shape(step.output())[-2] > 1
    return lanes // channels if is_joined else 1


def _columns_facts(
    step: Step, geometry: Window, neighbours: int, kernels: VectorKernels
) -> dict[str, int]:
    """Return the macros of a depthwise convolution, so many neighbours being one pixel of it."""
    op, channels = step.operation, geometry.in_c
    x, out = step.shape(step.input(0)), step.shape(step.output())
    strides, dilations = ((1, *op.ints_attribute(n))[-2:] for n in ("strides", "dilations"))
    (rows, columns), held = geometry.taps, channels * neighbours
    pixels = -(-out[-2] // neighbours)
    facts = {
        "ROWS": rows, "COLUMNS": columns, "ROW": dilations[0] * x[-2] * channels,
        "CHANNELS": held, "HIGH": math.prod(out[1:-2]), "WIDE": pixels,
        "LINE": strides[0] * x[-2] * channels,
        "STRIDE": strides[1] if neighbours == 1 else columns, **kernels.output_facts(step),
    }  # fmt: skip
    if kernels.joins_pixels:
        last = out[-2] * channels - (pixels - 1) * held
        facts |= {"COLUMN": channels, "STEP": strides[1] * held, "LAST": last}
    return facts


def _is_suited(step: Step, kernels: VectorKernels) -> bool:
    return (
        step.input(0).dtype is DType.UINT8
        and step.output().dtype in (DType.UINT8, DType.INT16)
        and is_rounded_without_clamp(step, kernels.is_saturating)
    )


def _has_slack(step: Step) -> bool:
    """Whether three bytes behind the input can be read: weights of zero meet what lies there."""
    place, x = step.unit.storage.place(step.input(0).name), step.input(0)
    plan = step.unit.graph.plan
    end = place.at + math.prod(step.shape(x)) + QUAD - 1
    return place.kind == "arena" and plan is not None and end <= plan.arena_bytes


def _emit(step: Step, kernels: VectorKernels, gemm: Gemm) -> bool:
    y, layout = step.output(), kernels.layout
    channels = gemm.weight.shape[0]
    step.macs = gemm.images * gemm.outputs.lines * gemm.outputs.pixels * gemm.weight.size
    flat = gemm.weight.reshape(channels, -1)
    multiplier = np.broadcast_to(step.array(3).astype(np.float32).reshape(-1), (channels,))
    weights = gemm.weight
    if gemm.is_joined(kernels.joins):
        weights = flat[:, None]
    elif gemm.run % QUAD and _has_slack(step):
        gemm = replace(gemm, run=-(-gemm.run // QUAD) * QUAD)
    for block in cut(layout, channels, gemm.outputs):
        is_words = y.dtype is DType.INT16
        weight = packed_weights(layout, weights, block, is_words=is_words)
        function = _instance(step, kernels, gemm, block)
        facts = [gemm.images, gemm.image, block.blocks, block.channels, channels]
        name = f"p{block.first}"
        step.lines.append(
            f"static const q_gemm {name} = {{{', '.join(map(str, facts))}, "
            f"{step.requantization()}}};"
        )
        place = step.pointer(y.name)
        step.shared_call(
            function,
            f"&{name}",
            step.pointer(step.input(0).name),
            step.constant(f"weight{block.first}", weight, DType.INT8, kernels.alignment),
            _bias(step, kernels, step.array(2), flat, block),
            _channels(step, kernels, "multiplier", [multiplier], block),
            f"{place} + {block.first}" if block.first else place,
        )
    return True


def _bias(
    step: Step,
    kernels: VectorKernels,
    bias: npt.NDArray[np.generic],
    weight: npt.NDArray[np.int64],
    block: Block,
) -> str:
    """Add biases with what zero points and shifts add to sums, weight [outputs, products]."""
    zero, wide = step.operation.int_attribute("x_zero_point"), bias.astype(np.int64)
    rows = [fold_zero_point(wide, zero + shift, weight) for shift in kernels.bias_shifts]
    return _channels(step, kernels, "bias", rows, block)


def _channels(
    step: Step,
    kernels: VectorKernels,
    role: str,
    rows: Sequence[npt.NDArray[np.generic]],
    block: Block,
) -> str:
    """Add values of every channel, [blocks, rows, lanes]."""
    is_words = step.output().dtype is DType.INT16
    packed = [packed_channels(kernels.layout, row, block, is_words=is_words) for row in rows]
    dtype = DType.FLOAT32 if role == "multiplier" else DType.INT32
    found = np.stack(packed, axis=1)
    return step.constant(f"{role}{block.first}", found, dtype, kernels.alignment)


def _instance(step: Step, kernels: VectorKernels, gemm: Gemm, block: Block) -> str:
    is_words = step.output().dtype is DType.INT16
    facts = {
        "VECTORS": block.vectors,
        "ROWS": gemm.rows, "COLUMNS": gemm.columns, "RUN": gemm.run,
        "ROW": gemm.row if gemm.rows > 1 else 0, "COLUMN": gemm.column if gemm.columns > 1 else 0,
        "HIGH": gemm.outputs.lines, "WIDE": gemm.outputs.pixels,
        "LINE": gemm.line if gemm.outputs.lines > 1 else 0, "PIXEL": gemm.pixel,
        **kernels.product_facts(gemm, block.vectors), **kernels.output_facts(step),
    }  # fmt: skip
    if kernels.joins:
        facts["JOINED"] = int(gemm.is_joined(kernels.joins))
    types = {"Y": C_TYPES[step.output().dtype], "WORDS": str(int(is_words))}
    tag = "_".join(["i16" if is_words else "u8", *map(str, facts.values())])
    macros = types | {key: str(value) for key, value in facts.items()}
    return step.instance("q_gemm", kernels.header("gemm"), macros, tag)
