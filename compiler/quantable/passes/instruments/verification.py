"""Checks every invariant of the level after every pass."""

from __future__ import annotations

from typing import ClassVar

from quantable.ir import Graph, verify
from quantable.passes.instruments.instrument import Instrument, Step


class Verification(Instrument):
    """Raises an `InvariantError` that names the pass."""

    name: ClassVar[str] = "verification"

    def after(self, step: Step, result: Graph) -> None:
        """Check what the pass made."""
        verify(result, after=step.item.name)
