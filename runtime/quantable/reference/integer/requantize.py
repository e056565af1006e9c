"""Requantization: from an exact accumulator to the integers of the output.

The forms of requantization of ``docs/integer-operations.md``: by a float32 multiplier, and by a
fixed-point one of 31 bits with one rounding or two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantable.ir import DType, InvariantError
from quantable.reference.site import Site
from quantable.reference.tensors import torch_type

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53


def exact_type(bound: int, where: str) -> torch.dtype:
    """Return the float type in which sums of integers up to a bound are exact.

    Args:
        bound: No partial sum, in any order, has a larger magnitude.
        where: The operation, for the message.

    Raises:
        InvariantError: No float type is wide enough.
    """
    if bound < FLOAT32_EXACT:
        return torch.float32
    if bound < FLOAT64_EXACT:
        return torch.float64
    raise InvariantError(f"accumulator up to {bound}: expected less than 2**53", where=where)


def operand_type(site: Site, slot: int) -> DType:
    """Return the integer type of an operand.

    Raises:
        InvariantError: The operand is not of an integer type.
    """
    dtype = site.input_type(slot)
    if dtype is None or not dtype.is_integer:
        found = "nothing" if dtype is None else dtype.value
        raise InvariantError(f"operand {slot}: expected an integer type, found {found}",
                             where=site.operation.where())  # fmt: skip
    return dtype


def reach(dtype: DType, zero_point: int) -> int:
    """Return the largest magnitude of x - zero_point."""
    return max(abs(dtype.minimum - zero_point), abs(dtype.maximum - zero_point))


def requantizer(site: Site) -> Callable[[Tensor, Tensor | float], Tensor]:
    """Return requantize(acc, multiplier) of an operation.

    The accumulator is a float tensor that holds exact integers, or int64 of up to 53 bits; the
    multiplier is a float32 number or tensor that broadcasts.
    """
    op = site.operation
    form = op.string_attribute("requantization", "")
    if form:
        return _fixed_point_requantizer(site, form)
    zero = op.int_attribute("y_zero_point")
    low = float(op.int_attribute("clamp_min") - zero)
    high = float(op.int_attribute("clamp_max") - zero)
    to = output_type(site)

    def run(acc: Tensor, multiplier: Tensor | float) -> Tensor:
        if acc.dtype is torch.int64:
            acc = acc.to(torch.float64)  # exact, so that the next conversion rounds only once
        product = acc.to(torch.float32) * multiplier
        return narrow(product.clamp_(low, high).round_().add_(zero), to)

    return run


def _fixed_point_requantizer(site: Site, form: str) -> Callable[[Tensor, Tensor | float], Tensor]:
    op = site.operation
    if form not in FIXED_POINT:
        raise InvariantError(f"expected one of {', '.join(FIXED_POINT)}, found '{form}'",
                             where=f"{op.where()} requantization")  # fmt: skip
    zero, to = op.int_attribute("y_zero_point"), output_type(site)
    low, high = op.int_attribute("clamp_min"), op.int_attribute("clamp_max")
    scaled = FIXED_POINT[form]

    def run(acc: Tensor, multiplier: Tensor | float) -> Tensor:
        mantissa, exponent = torch.frexp(torch.as_tensor(multiplier, dtype=torch.float64))
        factor = (mantissa * 2.0**31).to(torch.int64)  # exact: multipliers have 31 bits
        steps = scaled(acc.to(torch.int64), factor, exponent.to(torch.int64))
        return narrow((steps + zero).clamp_(low, high), to)

    return run


def _scaled_once(acc: Tensor, factor: Tensor, exponent: Tensor) -> Tensor:
    """Return ``acc * factor * 2**(exponent - 31)``, ties rounded up."""
    shift = 31 - exponent
    return (acc * factor + (1 << (shift - 1))) >> shift


def _scaled_twice(acc: Tensor, factor: Tensor, exponent: Tensor) -> Tensor:
    """Return the same as gemmlowp does: the high half rounded, ties up, then shifted, ties away.

    Source: gemmlowp, fixedpoint.h, SaturatingRoundingDoublingHighMul and RoundingDivideByPOT.
    """
    left, right = exponent.clamp(min=0), (-exponent).clamp(min=0)
    x = (acc << left).clamp(-(2**31), 2**31 - 1)
    high = (x * factor + (1 << 30)) >> 31
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


FIXED_POINT: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fixed-point-double": _scaled_twice,
    "fixed-point-single": _scaled_once,
}
"""Forms with a multiplier of 31 bits: scaled(acc, factor, exponent), int64."""


def narrow(x: Tensor, to: torch.dtype) -> Tensor:
    """Convert integers held in a wider type, all inside the range of the narrower one."""
    if to in (torch.uint16, torch.uint32, torch.uint64):
        return x.to(torch.int64).to(to)
    return x.to(to)


def output_type(site: Site) -> torch.dtype:
    """Return the torch type of an operation's output."""
    dtype = site.output_type()
    if dtype is None:
        raise InvariantError("the output has no element type", where=site.operation.where())
    return torch_type(dtype)


def constant(site: Site, slot: int) -> Tensor:
    """Return an operand that must be a parameter."""
    held = site.constants.get(slot)
    if held is None:
        raise InvariantError(f"operand {slot}: expected a parameter",
                             where=site.operation.where())  # fmt: skip
    return held
