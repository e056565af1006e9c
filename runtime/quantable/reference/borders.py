"""Checks of what a user gives to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from quantable.ir import Container, DataError, Graph, Shape, Value
from quantable.reference.site import Item
from quantable.reference.tensors import Array, to_tensor

Given = Array | Sequence[Array] | None
"""What a user gives for an input: an array, several for a sequence, None for an absent optional."""


def check_inputs(graph: Graph, inputs: Mapping[str, Array], where: str = "") -> dict[str, Tensor]:
    """Return the inputs of a graph that takes tensors alone, in its order; see `check_items`."""
    items = check_items(graph, inputs, where)
    for name, item in items.items():
        if not isinstance(item, Tensor):
            raise DataError(f"input '{name}': expected a tensor, found a container", where=where)
    return {name: item for name, item in items.items() if isinstance(item, Tensor)}


def check_items(graph: Graph, inputs: Mapping[str, Given], where: str = "") -> dict[str, Item]:
    """Return the inputs as tensors and lists of them, in the graph's order.

    Args:
        graph: The graph.
        inputs: One array a graph input; a list of them for a sequence, None for an optional value
            that is absent.
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
    checked: dict[str, Item] = {}
    for name in graph.inputs:
        value, given = graph.values[name], inputs[name]
        if given is None or isinstance(given, (list, tuple)):
            checked[name] = _contained(value, given, where)
            continue
        array = np.asarray(given)
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


def _contained(value: Value, given: Sequence[Array] | None, where: str) -> Item:
    """Check what is given for a sequence or an optional value."""
    is_sequence = value.container in (Container.SEQUENCE, Container.OPTIONAL_SEQUENCE)
    is_optional = value.container in (Container.OPTIONAL, Container.OPTIONAL_SEQUENCE)
    if (given is None and not is_optional) or (given is not None and not is_sequence):
        found = "nothing" if given is None else "a list"
        raise DataError(
            f"input '{value.name}': expected {value.container.value}, found {found}", where=where
        )
    if given is None:
        return None
    for array in given:
        if np.asarray(array).dtype != value.dtype.numpy:
            raise DataError(
                f"input '{value.name}': expected a sequence of {value.dtype.numpy.name}, found "
                f"{np.asarray(array).dtype.name}", where=where,
            )  # fmt: skip
    return [to_tensor(np.asarray(array), value.dtype) for array in given]


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
