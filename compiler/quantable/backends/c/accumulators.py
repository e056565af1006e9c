"""What the accumulators of a layer can reach, and channels that no input changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.unit import Step


@dataclass(frozen=True, slots=True)
class Layer:
    """The constants of a layer of unsigned bytes, without the input's zero point in the bias.

    Attributes:
        weight: [outputs, products] or, for some kernels, products in runs.
        bias: [outputs].
        multiplier: [outputs].
        reach: The largest absolute value of an accumulator.
    """

    weight: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.float32]
    reach: int


def settled(step: Step, weight: npt.NDArray[np.int64]) -> Layer:
    """Return the constants of a layer; a channel that no input changes loses its weights.

    Such a channel, of a unit that training switched off, often has a huge bias, which would take
    room from the accumulators of all others. Its output is kept by a bias and a multiplier, a power
    of two, like theirs.

    Args:
        step: A convolution or linear layer.
        weight: [outputs, products].
    """
    zero = step.operation.int_attribute("x_zero_point")
    bias, multiplier = step.array(2).astype(np.int64), multipliers(step, weight.shape[0])
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.maximum(-weight, 0).sum(axis=1)
    least = bias - positive * zero - negative * (255 - zero)
    most = bias + positive * (255 - zero) + negative * zero
    low, high = (rounded(step, ends, multiplier) for ends in (least, most))
    is_fixed = low == high
    scale = _power_below(multiplier[~is_fixed])
    fixed_bias = low * scale
    weight = np.where(is_fixed[:, None], 0, weight)
    bias, multiplier = (
        np.where(is_fixed, fixed_bias, bias),
        np.where(is_fixed, np.float32(1 / scale), multiplier),
    )
    ends = np.where(is_fixed, fixed_bias, least), np.where(is_fixed, fixed_bias, most)
    reach = int(np.abs(np.stack(ends)).max(initial=0))
    return Layer(weight, bias, multiplier, reach)


def multipliers(step: Step, channels: int) -> npt.NDArray[np.float32]:
    """Return the multiplier of every output channel of a convolution or linear layer."""
    return np.broadcast_to(step.array(3).astype(np.float32).reshape(-1), (channels,))


def rounded(
    step: Step, acc: npt.NDArray[np.int64], multiplier: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return what accumulators become, before the zero point is added."""
    op = step.operation
    zero = op.int_attribute("y_zero_point")
    low, high = (op.int_attribute(name) - zero for name in ("clamp_min", "clamp_max"))
    products = acc.astype(np.float32) * multiplier
    bounded = np.minimum(np.maximum(products, np.float32(low)), np.float32(high))
    found: npt.NDArray[np.int64] = np.rint(bounded).astype(np.int64)
    return found


def _power_below(values: npt.NDArray[np.float32]) -> int:
    """Return a power of two whose inverse is about the largest value: 1 to 2**12."""
    largest = float(values.max(initial=0.0))
    exponent = 0 if largest <= 0 else -int(np.floor(np.log2(largest)))
    return 1 << min(max(exponent, 0), 12)
