"""Rows that a model brought along: passes leave them as they are."""

from __future__ import annotations

from quantable.ir import QuantizationParameters

ADOPTING = "adopt-quantizers"
"""The pass that takes them; their provenance begins with it."""


def is_adopted(row: QuantizationParameters) -> bool:
    """Whether a row came with the model."""
    return row.provenance.startswith(f"{ADOPTING}:")
