"""The multiplier of a change of scale, in the form that a target's arithmetic has: one table.

Formulas: docs/integer-operations.md, "Requantization".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import DType, Operation, UnsupportedError

Reals = npt.NDArray[np.floating]
Real = Callable[[object], Reals]
"""Brings numbers to the precision that a multiplier is computed in."""
Ratio = Callable[[Real], object]
"""A multiplier as an expression of scales, each of which is brought to a precision first."""

_MANTISSA = 31
_SMALLEST, _LARGEST = -31, 30
"""Exponents that a fixed-point multiplier can have; smaller ones make 0."""


@dataclass(frozen=True, slots=True)
class Requantization:
    """One row of the table.

    Attributes:
        name: Key `arithmetic.requantization` of target descriptions.
        attribute: What operations say; "" is the default of the format.
        dtype: Of multipliers: fixed-point ones need 31 bits, and lie in float64 without rounding.
        needs_powers: Whether multipliers other than those of means are powers of two.
        add_shifts: Fraction bits of the factors of an addition: where all tensors have 8 bits,
            where both operands have, and else. Factors are rounded to them, and the error grows
            with an operand's steps: 16 bits need eight more.
    """

    name: str
    attribute: str
    dtype: DType
    needs_powers: bool
    add_shifts: tuple[int, int, int]

    @property
    def is_fixed_point(self) -> bool:
        """Whether accumulators have 32 bits at most."""
        return bool(self.attribute)

    def multipliers(self, ratio: Ratio) -> Reals:
        """Return multipliers, of any shape, from the expression of scales."""
        if not self.is_fixed_point:
            return np.asarray(ratio(lambda v: np.asarray(v, np.float32)), np.float32)
        real = np.asarray(ratio(lambda v: np.asarray(v, np.float32).astype(np.float64)), np.float64)
        mantissa, exponent = np.frexp(real)
        rounded = np.ldexp(np.rint(np.ldexp(mantissa, _MANTISSA)), exponent - _MANTISSA)
        largest = np.ldexp(1.0 - 2.0**-_MANTISSA, _LARGEST)
        return np.where(np.frexp(rounded)[1] < _SMALLEST, 0.0, np.minimum(rounded, largest))

    def require_power(self, operation: Operation, multipliers: Reals) -> None:
        """Refuse multipliers that are no powers of two where the target can only shift.

        Raises:
            UnsupportedError: One is none.
        """
        if not self.needs_powers:
            return
        flat = np.asarray(multipliers, np.float64).reshape(-1)
        wrong = flat[(np.frexp(flat)[0] != 0.5) & (flat != 0.0)]
        if wrong.size:
            raise UnsupportedError(
                f"expected a change of scale by a power of two, found {wrong[0]:.9g}",
                where=operation.where(),
                help="every scheme of the target needs power_of_two = true",
            )


_FLOAT = Requantization("float32-multiply", "", DType.FLOAT32, False, (14, 20, 28))
REQUANTIZATIONS = {
    row.name: row
    for row in (
        _FLOAT,
        Requantization(
            "fixed-point-double", "fixed-point-double", DType.FLOAT64, False, (14, 12, 12)
        ),
        Requantization(
            "fixed-point-single", "fixed-point-single", DType.FLOAT64, False, (14, 12, 12)
        ),
        Requantization("shift", "fixed-point-single", DType.FLOAT64, True, (14, 12, 12)),
    )
}
"""Every form by name."""


def requantization_of(name: str | None) -> Requantization:
    """Return the form that a target names; that of float multipliers without a target.

    Raises:
        UnsupportedError: Integer operations have none of this name.
    """
    if name is None:
        return _FLOAT
    found = REQUANTIZATIONS.get(name)
    if found is None:
        raise UnsupportedError(
            f"no integer arithmetic requantizes by '{name}'",
            help=f"known: {', '.join(REQUANTIZATIONS)}",
        )
    return found
