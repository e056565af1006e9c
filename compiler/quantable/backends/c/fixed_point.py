"""Requantization in integers that gives what float32-rne does: the parameters of q_fixed.h."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.unit import Step

_WORD = 32
_FLOAT_BIAS = 125
"""Exponent fields of multipliers, counted so that their 31-bit mantissas are in [2**30, 2**31)."""
_ROUNDINGS = 2.0**-23
"""Two roundings to float, of the accumulator and of the product, move it so far at most."""
_UNITS = 3
"""Of the fixed-point product, less than which it is off: two, and one to spare."""
_ALWAYS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """The fields of `q_fixed`, in its order."""

    shift: int
    bits: int
    left: int
    exponent: int
    addend: int
    near: int
    span: int
    low: int
    zero_point: int

    def initializer(self) -> str:
        """Return it as C text."""
        unsigned = ("addend", "near", "span")
        names = self.__slots__
        pairs = zip(names, astuple(self), strict=True)
        return f"{{{', '.join(f'{v}u' if n in unsigned else str(v) for n, v in pairs)}}}"


def fixed_point(step: Step, reach: int, multiplier: npt.NDArray[np.float32]) -> FixedPoint:
    """Choose as many fraction bits as all products of accumulators and multipliers leave room for.

    A fixed-point product is ``(acc << shift) * multiplier`` of two factors below 2**31, of which
    the upper half is kept: the largest accumulator says how far it can be shifted, the largest
    multiplier how many fraction bits its 31-bit form leaves.

    Args:
        step: What is requantized; its `zero_point` and clamp.
        reach: The largest absolute value of an accumulator.
        multiplier: All multipliers, positive.
    """
    op = step.operation
    zero, low, high = (op.int_attribute(n) for n in ("y_zero_point", "clamp_min", "clamp_max"))
    step.requantization()  # refuses a clamp outside the type
    shift = 31 - int(reach).bit_length()
    largest = int(multiplier.view(np.uint32).max(initial=1)) >> 23
    span = high - low
    # What is saturated may be off by any amount, as long as it is on the right side.
    distance = max(high - zero, zero - low, 1) + 1
    most = 29 - (distance + abs(zero - low)).bit_length()
    bits = min(_FLOAT_BIAS + shift - largest, most)
    if bits < 1:  # every product is computed bit by bit; fixed-point multipliers are 0
        return FixedPoint(0, 1, 31, 2**20, _addend(1, 0, zero - low), _ALWAYS, span, low, zero)
    band = _UNITS + int(np.ceil(2.0**bits * distance * _ROUNDINGS))
    left = _WORD - bits
    near = min(2 * band << left, _ALWAYS)
    exponent = _FLOAT_BIAS + shift - bits
    addend = _addend(bits, band, zero - low)
    return FixedPoint(shift, bits, left, exponent, addend, near, span, low, zero)


def _addend(bits: int, band: int, offset: int) -> int:
    return int((2 ** (bits - 1) + band + (offset << bits)) % 2**_WORD)
