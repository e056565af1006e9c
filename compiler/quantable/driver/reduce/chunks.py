"""Delta debugging: take away chunks of a list, halves first, then ever smaller ones.

See: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from quantable.driver.reduce.case import Bench, Case

Item = TypeVar("Item")


def take_away(
    bench: Bench, items: Sequence[Item], without: Callable[[Case, list[Item]], Case | None]
) -> None:
    """Bring a case to one of which no single item can be taken away any more.

    Args:
        bench: Holds the case.
        items: What can be taken away.
        without: Returns a case without some of the items, None where that cannot be.
    """
    left = list(items)
    size = len(left)
    while size:
        start, progress = 0, False
        while start < len(left):
            chunk = left[start : start + size]
            if bench.attempt(without(bench.case, chunk)):
                del left[start : start + size]
                progress = True
            else:
                start += size
        if size > 1:
            size = (size + 1) // 2
        elif not progress:
            return
