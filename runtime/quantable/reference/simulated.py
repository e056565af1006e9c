"""Simulated quantization: what the slots of a quantable operation do to float tensors.

Bit for bit the quantization of `quantable.ir.numerics` followed by its dequantization.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Rounding,
    TensorQuantizationConfig,
)
from quantable.ir.floats import largest_float
from quantable.ir.numerics import dequantize, scale_from_range
from quantable.reference.tensors import to_tensor

SlotQuantizer = Callable[[Tensor], Tensor]
_EXACT = 1 << 24  # up to here float32 holds every integer


def _half_up(x: Tensor) -> Tensor:
    whole = torch.floor(x)
    return whole + ((x - whole) >= 0.5).to(x.dtype)


def _half_down(x: Tensor) -> Tensor:
    return -_half_up(-x)


def _half_towards_zero(x: Tensor) -> Tensor:
    return torch.copysign(_half_down(torch.abs(x)), x)


def _half_far_from_zero(x: Tensor) -> Tensor:
    return torch.copysign(_half_up(torch.abs(x)), x)


ROUNDING: dict[Rounding, Callable[[Tensor], Tensor]] = {
    Rounding.HALF_EVEN: torch.Tensor.round_,
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_DOWN: _half_down,
    Rounding.HALF_TOWARDS_ZERO: _half_towards_zero,
    Rounding.HALF_FAR_FROM_ZERO: _half_far_from_zero,
    Rounding.UP: torch.Tensor.ceil_,
    Rounding.DOWN: torch.Tensor.floor_,
}


def taken_parameters(graph: Graph, op: QuantableOperation) -> dict[int, Tensor]:
    """Return, by input slot, the parameters that an operation takes in a form of its own.

    Baked ones dequantized, originals where the slot is suspended, and current contents quantized
    where the slot is in force.
    """
    taken = {}
    for slot, name in enumerate(op.inputs):
        if name not in graph.parameters:
            continue
        config = op.config.inputs[slot]
        original, baked = op.original(slot), op.baked_parameter(slot)
        if config.suspended is not None and original is not None:
            taken[slot] = to_tensor(graph.store.get(original), original.dtype)
        elif config.state.is_baked and baked is not None:
            steps = graph.store.get(baked.content)
            taken[slot] = to_tensor(dequantize(steps, config, graph.rows[config.row]))
        elif config.state.is_in_force:
            values = to_tensor(graph.array(name), graph.parameters[name].dtype)
            taken[slot] = slot_quantizer(config, graph.rows[config.row])(values)
    return taken


def slot_quantizers(
    graph: Graph, op: QuantableOperation, *, fresh: bool = False
) -> tuple[tuple[SlotQuantizer | None, ...], tuple[SlotQuantizer | None, ...]]:
    """Return what quantizes each activation input and each output, None for nothing.

    Args:
        graph: The graph.
        op: One of its operations.
        fresh: Whether the outputs have memory of their own, which is written over.
    """

    def of(config: TensorQuantizationConfig, name: str, over: bool = False) -> SlotQuantizer | None:
        if not name or name in graph.parameters or not config.state.is_in_force:
            return None
        return slot_quantizer(config, graph.rows[config.row], over=over)

    inputs = zip(op.config.inputs, op.inputs, strict=True)
    outputs = zip(op.config.outputs, op.outputs, strict=True)
    return tuple(of(*pair) for pair in inputs), tuple(of(*pair, fresh) for pair in outputs)


def slot_quantizer(
    config: TensorQuantizationConfig, row: QuantizationParameters, *, over: bool = False
) -> SlotQuantizer:
    """Return the function float32 tensor -> float32 tensor that a slot in force is.

    Args:
        config: The slot's config.
        row: Its row; not looked at where the policy is dynamic.
        over: Whether the result may take the tensor's memory.
    """
    if config.policy.dynamic:
        return functools.partial(_quantize_dynamic, config=config)
    scale = torch.from_numpy(row.scale_array.copy())
    zero = torch.from_numpy(row.zero_point_array.copy())
    if config.policy.is_floating:
        return lambda x: _quantize_floating(x, config, _along(scale, x, config))
    return _linear_quantizer(config, scale, zero, over)


def _along(row: Tensor, x: Tensor, config: TensorQuantizationConfig) -> Tensor:
    axis = config.channel_axis
    if axis is None:
        return row.reshape(()) if row.numel() == 1 else row
    if config.policy.is_per_block:
        blocks = row.reshape(config.block_shape(tuple(x.shape)))
        return blocks.repeat_interleave(config.block_size, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.dim()
    shape[axis] = -1
    return row.reshape(shape)


def _linear_quantizer(
    config: TensorQuantizationConfig, scale: Tensor, zero: Tensor, over: bool = False
) -> SlotQuantizer:
    # (round(x / s) + z clamped) - z is round(x / s) clamped to bounds shifted by z: integers that
    # the working type holds exactly, so that neither the sum nor the difference rounds.
    low, high = config.quant_min - zero, config.quant_max - zero
    reach = int(torch.maximum(low.abs(), high.abs()).max())
    quotient = torch.float64 if config.bits > 24 else torch.float32
    steps = torch.float64 if config.bits > 24 or reach > _EXACT else torch.float32
    rounded = ROUNDING[config.rounding]
    if config.channel_axis is None and scale.numel() == 1:
        divisor, bounds = float(scale), (float(low), float(high))
        divisor_tensor = scale.to(quotient).reshape(())

        def run_tensor(x: Tensor) -> Tensor:
            # Fresh memory would cost as much as two of the other passes.
            place = x if over and x.dtype is quotient else None
            divided = torch.div(x.to(quotient), divisor_tensor, out=place)
            q = rounded(divided).to(steps).clamp_(*bounds)
            # Adding zero makes the zero of a negative number positive, as an integer has it.
            return q.add_(0.0).to(quotient).mul_(divisor).to(torch.float32)

        return run_tensor

    def run_channels(x: Tensor) -> Tensor:
        s = _along(scale.to(quotient), x, config)
        q = rounded(x.to(quotient) / s).to(steps)
        q = torch.clamp(q, _along(low.to(steps), x, config), _along(high.to(steps), x, config))
        return q.add_(0.0).to(quotient).mul_(s).to(torch.float32)

    return run_channels


def _quantize_dynamic(x: Tensor, config: TensorQuantizationConfig) -> Tensor:
    if not x.numel():
        return x
    if config.channel_axis is None:
        low, high = (t.reshape(1) for t in torch.aminmax(x))
    else:
        axes = [axis for axis in range(x.dim()) if axis != config.channel_axis % x.dim()]
        low, high = torch.amin(x, axes), torch.amax(x, axes)
    scale, zero = scale_from_range(low.numpy(), high.numpy(), config)
    return _linear_quantizer(config, torch.from_numpy(scale), torch.from_numpy(zero))(x)


def _quantize_floating(x: Tensor, config: TensorQuantizationConfig, scale: Tensor) -> Tensor:
    """Round x / scale to the nearest representable float, ties to even, saturating."""
    mantissa_bits = config.mantissa_bits
    bias = (1 << (config.exponent_bits - 1)) - 1
    limit = largest_float(config.exponent_bits, mantissa_bits)
    real = (x / scale).clamp(-limit, limit)
    exponent = torch.frexp(real).exponent - 1  # |real| lies in [2**e, 2**(e + 1))
    place = torch.clamp(exponent, min=1 - bias) - mantissa_bits
    step = torch.ldexp(torch.ones_like(real), place)
    rounded = ROUNDING[config.rounding](real / step) * step
    return rounded.clamp_(-limit, limit).add_(0.0) * scale
