"""Passes on what passes say, as they say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.passes.instruments.instrument import Instrument, Step

Say = Callable[[str], None]


class RemarkPrinter(Instrument):
    """Hands every remark of a pass to a function once the pass is done, or has failed."""

    name: ClassVar[str] = "remarks"

    def __init__(self, say: Say) -> None:
        self._say = say
        self._first = 0

    def before(self, step: Step) -> None:
        """Remember where the pass's own remarks begin."""
        self._first = len(step.context.remarks)

    def after(self, step: Step, result: Graph) -> None:
        """Hand on what was said."""
        self._tell(step.context)

    def failed(self, step: Step, error: Exception) -> None:
        """Hand on what was said before the failure."""
        self._tell(step.context)

    def tell(self, remarks: Sequence[tuple[str, str, str]]) -> None:
        """Hand on remarks, also of passes that ran another time."""
        for name, place, text in remarks:
            self._say(f"remark: {name}: {place}: {text}")

    def _tell(self, context: PassContext) -> None:
        self.tell(context.remarks[self._first :])
        self._first = len(context.remarks)
