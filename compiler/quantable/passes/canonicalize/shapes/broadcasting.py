"""NumPy broadcasting of symbolic shapes."""

from __future__ import annotations

from quantable.passes.canonicalize.shapes.site import Site, Sizes
from quantable.passes.canonicalize.shapes.symbols import Expression


def broadcast(site: Site, *shapes: Sizes) -> Sizes:
    """Return the shape of the result.

    Two different symbols give an unknown dimension: either may be 1. A symbol and a number above 1
    give the number.

    Raises:
        ModelError: Two numbers do not fit.
    """
    rank = max(len(shape) for shape in shapes)
    one = Expression.of(1)
    padded = [(one,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_dimension(site, axis, [p[axis] for p in padded]) for axis in range(rank))


def _dimension(site: Site, axis: int, sizes: list[Expression]) -> Expression:
    wide = list(dict.fromkeys(size for size in sizes if size.constant != 1))
    if len(wide) <= 1:
        return wide[0] if wide else Expression.of(1)
    numbers = [size for size in wide if size.constant is not None]
    if len(numbers) > 1:
        found = " and ".join(str(size.dim) for size in numbers)
        raise site.error(f"expected shapes that broadcast, found {found} on axis {axis}")
    return numbers[0] if numbers else site.unknown(0, axis)
