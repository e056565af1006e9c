"""Golden vectors for the self test of emitted C: inputs from a counter, results of the reference.

Nothing random is left to chance: the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.backends.c.border import Border, BorderTensor, border
from quantable.driver import runtime
from quantable.ir import Graph

Array = npt.NDArray[np.generic]
MOST_VECTORS = 4
MOST_ELEMENTS = 1 << 16
"""Of all inputs together: what keeps the self test's source small."""


def golden_vectors(graph: Graph) -> dict[str, Array]:
    """Return integers by border value name, with a leading axis of vectors.

    Inputs are uniform over the range that the network quantizes to, from Philox with the vector's
    number as its key: the same on every machine.

    Args:
        graph: At the planned level.
    """
    edges = border(graph)
    elements = sum(tensor.size for tensor in edges.inputs)
    count = max(1, min(MOST_VECTORS, MOST_ELEMENTS // max(1, elements)))
    reference = runtime.reference(graph)
    names = border_values(edges)
    found = [reference.run(_inputs(graph, edges, number), names) for number in range(count)]
    return {name: np.stack([vector[name] for vector in found]) for name in names}


def border_values(edges: Border) -> tuple[str, ...]:
    """Return the names of the integer values at the border, inputs first."""
    return tuple(tensor.value for tensor in (*edges.inputs, *edges.outputs))


def _inputs(graph: Graph, edges: Border, number: int) -> dict[str, Array]:
    generator = np.random.Generator(np.random.Philox(key=number))
    found = {}
    for tensor in edges.inputs:
        drawn, dtype = _real(tensor, generator), graph.values[tensor.name].dtype
        found[tensor.name] = drawn if dtype.is_float else np.rint(drawn).astype(dtype.numpy)
    return found


def _real(tensor: BorderTensor, generator: np.random.Generator) -> Array:
    span = generator.integers(tensor.clamp_min, tensor.clamp_max, tensor.shape, endpoint=True)
    if tensor.scale is None:
        return span.astype(tensor.dtype.numpy)
    return ((span - tensor.zero_point) * np.float64(tensor.scale)).astype(np.float32)
