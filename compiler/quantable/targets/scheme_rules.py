"""What must hold for the numbers of a scheme: floats, blocks, and what integer targets can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quantable.ir.floats import FLOAT_TYPES, largest_float

if TYPE_CHECKING:
    from quantable.targets.description import Scheme, Target

FLOATING_OBSERVERS = ("floating", "constant", "minmax")
"""Observers that choose scales of floating numbers; 'floating' is for nothing else."""


def check_numbers(scheme: Scheme) -> None:
    """Refuse a scheme whose numbers contradict each other.

    Raises:
        ValueError: Says what was expected.
    """
    is_floating, observer = scheme.policy.is_floating, scheme.observer
    if is_floating:
        if (scheme.bits, scheme.exponent_bits) not in FLOAT_TYPES:
            known = ", ".join(f"{bits} with {exponent}" for bits, exponent in FLOAT_TYPES)
            raise ValueError(
                f"expected bits and exponent bits of floats that can be stored ({known}), found "
                f"{scheme.bits} with {scheme.exponent_bits}"
            )
        largest = largest_float(scheme.exponent_bits, scheme.bits - scheme.exponent_bits - 1)
        if (scheme.quant_min, scheme.quant_max) != (-largest, largest):
            raise ValueError(
                f"expected the range of floats of {scheme.bits} bits with {scheme.exponent_bits} "
                f"exponent bits, [{-largest:g}, {largest:g}], found "
                f"[{scheme.quant_min}, {scheme.quant_max}]"
            )
        if observer not in FLOATING_OBSERVERS:
            known = ", ".join(FLOATING_OBSERVERS)
            raise ValueError(f"expected an observer of floats ({known}), found '{observer}'")
    elif observer == "floating":
        raise ValueError("expected arithmetic 'floating' beside the observer 'floating'")
    if scheme.block_size and not scheme.policy.is_per_block:
        raise ValueError(f"policy '{scheme.policy}' with blocks of {scheme.block_size}")
    if scheme.policy.is_per_block != bool(scheme.otherwise):
        raise ValueError("expected 'otherwise' exactly where the granularity is 'block'")


def faults_of(target: Target, scheme: Scheme) -> Iterator[str]:
    """Yield what keeps a target from using a scheme."""
    policy = scheme.policy
    if (policy.is_floating or policy.is_per_block) and (
        target.integer_only or target.backend == "c"
    ):
        yield (
            f"policy '{policy}': integer targets compute with integers that have one scale a "
            "tensor or a channel; expected a linear policy without blocks"
        )
    if policy.is_per_block:
        if scheme.name != "weight":
            yield "expected blocks in the scheme 'weight' only: they lie along its input channels"
        held = target.schemes.get(scheme.otherwise)
        if held is not None and held.policy.is_per_block:
            yield f"'otherwise': expected a scheme without blocks, found '{held.name}'"
