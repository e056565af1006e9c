"""The table of all integer operations: kind -> builder."""

from __future__ import annotations

from quantable.reference.integer import elementwise, products, reductions
from quantable.reference.site import Builder

INTEGER_OPERATIONS: dict[str, Builder] = {
    **elementwise.TABLE, **products.TABLE, **reductions.TABLE,
}  # fmt: skip
"""Every integer operation by kind; movement operations are those of the float table."""
