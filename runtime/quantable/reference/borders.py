"""Checks of what a user gives to a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from quantable.ir import DataError, Graph, Shape
from quantable.reference.tensors import Array, to_tensor


def check_inputs(graph: Graph, inputs: Mapping[str, Array], where: str = "") -> dict[str, Tensor]:
    """Return the inputs as tensors, in the graph's order.

    Args:
        graph: The graph.
        inputs: One array a graph input.
        where: The sample, for messages.

    Raises:
        DataError: An input is missing or unknown, or has a wrong shape or element type.
    """
    expected = ", ".join(graph.inputs)
    for name in graph.inputs:
        if name not in inputs:
            found = ", ".join(sorted(inputs)) or "nothing"
            raise DataError(f"input '{name}' is missing: expected {expected}, found {found}",
                            where=where)  # fmt: skip
    for name in inputs:
        if name not in graph.inputs:
            raise DataError(f"no input is named '{name}': expected {expected}", where=where)
    symbols: dict[str, tuple[int, str]] = {}
    checked = {}
    for name in graph.inputs:
        array = np.asarray(inputs[name])
        value = graph.values[name]
        if array.dtype.newbyteorder("=") != value.dtype.numpy.newbyteorder("="):
            raise DataError(
                f"input '{name}': expected element type {value.dtype.numpy.name}, "
                f"found {array.dtype.name}",
                where=where,
            )
        if value.shape is not None:
            _bind(name, value.shape, array.shape, symbols, where)
        checked[name] = to_tensor(array, value.dtype)
    return checked


def _bind(
    name: str,
    expected: Shape,
    found: tuple[int, ...],
    symbols: dict[str, tuple[int, str]],
    where: str,
) -> None:
    """Compare a shape and bind its symbols."""
    text = ", ".join(str(dim) for dim in expected)
    if len(expected) != len(found):
        raise DataError(f"input '{name}': expected shape [{text}], found {list(found)}",
                        where=where)  # fmt: skip
    for want, have in zip(expected, found, strict=True):
        if isinstance(want, int):
            if want != have:
                raise DataError(f"input '{name}': expected shape [{text}], found {list(found)}",
                                where=where)  # fmt: skip
        elif not want.startswith("?"):
            bound, first = symbols.setdefault(want, (have, name))
            if bound != have:
                raise DataError(
                    f"input '{name}': expected shape [{text}] with {want} = {bound} as in "
                    f"'{first}', found {list(found)}",
                    where=where,
                )
