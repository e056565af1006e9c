"""What a shape function is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantable.ir import ContentRef, ContentStore, DType, ModelError, Operation
from quantable.passes.canonicalize.shapes.symbols import Expression, solve

Sizes = tuple[Expression, ...]
Elements = npt.NDArray[np.object_]
MOST_ELEMENTS = 1024
"""Integer tensors of up to so many elements are followed element by element."""


class NotInferable(Exception):
    """A shape depends on values that are computed: what the model says of it stays."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor.

    Attributes:
        dtype: Element type.
        sizes: Its dimensions.
        elements: `Expression` objects in the tensor's shape; None where they are not known.
    """

    dtype: DType
    sizes: Sizes
    elements: Elements | None = None


@dataclass
class Site:
    """One operation during inference.

    Attributes:
        operation: The operation.
        inputs: What is known of each input; None where an optional one is absent.
        parameters: Contents of those inputs that are parameters, by value name.
        store: Holds the contents.
        bindings: Symbols that the graph turns out to fix, by name.
    """

    operation: Operation
    inputs: tuple[Tensor | None, ...]
    parameters: Mapping[str, ContentRef]
    store: ContentStore
    bindings: dict[str, int] = field(default_factory=dict)

    def has(self, slot: int) -> bool:
        """Whether an input is present."""
        return slot < len(self.inputs) and self.inputs[slot] is not None

    def tensor(self, slot: int) -> Tensor:
        """Return what is known of an input that must be present."""
        found = self.inputs[slot] if slot < len(self.inputs) else None
        if found is None:
            raise self.error(f"expected an input in slot {slot}, found none")
        return found

    def constant(self, slot: int) -> npt.NDArray[np.generic] | None:
        """Return the contents of an input that is a parameter."""
        if not self.has(slot):
            return None
        ref = self.parameters.get(self.operation.inputs[slot])
        return None if ref is None else self.store.get(ref)

    def elements(self, slot: int) -> list[Expression] | None:
        """Return the elements of an integer input, flat."""
        found = self.inputs[slot] if slot < len(self.inputs) else None
        return (
            None if found is None or found.elements is None else found.elements.reshape(-1).tolist()
        )

    def integers(self, slot: int) -> tuple[int, ...] | None:
        """Return the elements of an integer input if all are numbers, flat."""
        found = self.elements(slot)
        numbers = [None] if found is None else [item.constant for item in found]
        return None if None in numbers else tuple(n for n in numbers if n is not None)

    def unknown(self, output: int, axis: int) -> Expression:
        """Return the symbol of a dimension of which nothing is known."""
        return Expression.of(f"?{self.operation.outputs[output]}.{axis}")

    def equate(self, left: Expression, right: Expression) -> None:
        """Note that two dimensions must be equal; this may fix a symbol.

        Raises:
            ModelError: They cannot be.
        """
        difference = left - right
        if difference.constant not in (0, None):
            raise self.error(f"expected {left.dim} elements, found {right.dim}")
        fixed = solve(difference)
        if fixed is not None:
            self.bindings.setdefault(*fixed)

    def axis(self, value: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= value < rank:
            raise self.error(f"expected an axis of a tensor of rank {rank}, found {value}")
        return value % rank

    def error(self, message: str) -> ModelError:
        """Return an error at this operation."""
        return ModelError(
            message, where=self.operation.where(), help="shapes of the model do not fit"
        )


ShapeFunction = Callable[[Site], tuple[Tensor, ...]]


def sizes_of(*dims: int) -> Sizes:
    """Return known dimensions."""
    return tuple(Expression.of(dim) for dim in dims)


def product(sizes: Sizes) -> Expression:
    """Return the number of elements."""
    total = Expression.of(1)
    for size in sizes:
        total = total * size
    return total


def known(sizes: Sizes) -> tuple[int, ...] | None:
    """Return the dimensions if all are numbers."""
    numbers = [size.constant for size in sizes]
    return None if None in numbers else tuple(n for n in numbers if n is not None)


def as_elements(values: npt.ArrayLike) -> Elements:
    """Return integers as elements, in their shape."""
    source = np.asarray(values)
    result = np.empty(source.shape, np.object_)
    for index, value in np.ndenumerate(source):
        result[index] = Expression.of(value if isinstance(value, Expression) else int(value))
    return result
