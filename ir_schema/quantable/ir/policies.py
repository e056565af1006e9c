"""How a slot is quantized: policy, rounding, visibility.

The sets of legal policies and of rounding modes are PPQ's; the definitions are our own.
"""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass


class Rounding(enum.Enum):
    """How a real number becomes an integer. The HALF modes differ only on ties."""

    HALF_EVEN = "half-even"
    HALF_UP = "half-up"  # ties toward plus infinity
    HALF_DOWN = "half-down"  # ties toward minus infinity
    HALF_TOWARDS_ZERO = "half-towards-zero"
    HALF_FAR_FROM_ZERO = "half-far-from-zero"
    UP = "up"  # ceiling
    DOWN = "down"  # floor


class Visibility(enum.Enum):
    """Whether a backend writes a slot's quantization out."""

    FORCE_EXPORT = "force-export"
    EXPORT_WHEN_ACTIVE = "export-when-active"
    INTERNAL = "internal"


class Granularity(enum.Enum):
    PER_TENSOR = "tensor"
    PER_CHANNEL = "channel"
    PER_BLOCK = "block"  # runs of elements along one axis


class Arithmetic(enum.Enum):
    LINEAR = "linear"
    FLOATING = "floating"


class Symmetry(enum.Enum):
    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"


@dataclass(frozen=True, slots=True)
class QuantizationPolicy:
    """A legal combination of the properties of a quantization.

    Raises:
        ValueError: The combination is not in `LEGAL_POLICIES`.
    """

    granularity: Granularity = Granularity.PER_TENSOR
    arithmetic: Arithmetic = Arithmetic.LINEAR
    symmetry: Symmetry = Symmetry.SYMMETRIC
    power_of_two: bool = False
    dynamic: bool = False

    def __post_init__(self) -> None:
        if not _is_legal(self):
            raise ValueError(
                f"illegal quantization policy '{self}': a floating policy is symmetric, "
                "power of two and static, one for each block is static"
            )

    @property
    def is_per_channel(self) -> bool:
        return self.granularity is Granularity.PER_CHANNEL

    @property
    def is_per_block(self) -> bool:
        return self.granularity is Granularity.PER_BLOCK

    @property
    def has_axis(self) -> bool:
        """Whether there are more scales than one, along an axis."""
        return self.granularity is not Granularity.PER_TENSOR

    @property
    def is_floating(self) -> bool:
        return self.arithmetic is Arithmetic.FLOATING

    @property
    def is_symmetric(self) -> bool:
        return self.symmetry is Symmetry.SYMMETRIC

    def __str__(self) -> str:
        words = [self.granularity.value, self.arithmetic.value, self.symmetry.value]
        words += ["power-of-two"] * self.power_of_two + ["dynamic"] * self.dynamic
        return "-".join(words)


def _is_legal(policy: QuantizationPolicy) -> bool:
    if policy.is_per_block and policy.dynamic:
        return False
    if policy.arithmetic is Arithmetic.LINEAR:
        return True
    return policy.is_symmetric and policy.power_of_two and not policy.dynamic


def _legal_policies() -> tuple[QuantizationPolicy, ...]:
    found = []
    for row in itertools.product(Granularity, Arithmetic, Symmetry, (False, True), (False, True)):
        try:
            found.append(QuantizationPolicy(*row))
        except ValueError:
            continue
    return tuple(found)


LEGAL_POLICIES: tuple[QuantizationPolicy, ...] = _legal_policies()
"""All 23 legal policies, in a fixed order."""
