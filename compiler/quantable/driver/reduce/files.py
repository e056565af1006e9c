"""The inputs of a reduction, and its result: one file that holds everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantable.driver.reduce.case import Arrays, Case
from quantable.driver.reproduce import held_inputs, with_inputs
from quantable.ir import DataError, Graph
from quantable.schema import save


def load_inputs(graph: Graph, path: Path | None) -> Arrays | None:
    """Return the inputs from a .npz file, or those that a reproducer holds, or None.

    Raises:
        DataError: The file cannot be read, or its names are not those of the graph's inputs.
    """
    if path is None:
        return held_inputs(graph)
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read as .npz: {error}", where=str(path),
            help="make it with numpy.savez(path, **{input_name: array})",
        ) from error  # fmt: skip
    if set(arrays) != set(graph.inputs):
        raise DataError(
            f"expected arrays {', '.join(graph.inputs)}, found {', '.join(arrays)}", where=str(path)
        )
    return arrays


def write_reduced(case: Case, path: Path) -> None:
    """Write a case into one file: weights and inputs inside."""
    graph = case.graph if case.inputs is None else with_inputs(case.graph, case.inputs)
    save(graph, path, inline_limit=None)
