"""Files that come from outside: read, and checked against every rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.emission import replaced
from quantable.driver.operations import with_library
from quantable.ir import FormatError, Graph, InvariantError, OperationLibrary, verify
from quantable.schema import load, load_profile


def load_graph(path: str | Path, operations: OperationLibrary | None = None) -> Graph:
    """Read a graph and check every invariant of its level.

    Args:
        path: The file.
        operations: The user operations at hand, see `quantable.driver.operations.library_of`; by
            default those of installed packages, looked up where the graph has some.

    Raises:
        FormatError: The file is missing, foreign, truncated, corrupt or too new, or its graph
            breaks a rule.
    """
    graph = with_library(load(path), operations)
    try:
        verify(graph)
    except InvariantError as error:
        place = f"{path}: {error.where}" if error.where else str(path)
        raise FormatError(error.message, where=place, help=error.help) from error
    return graph


def problem_of(path: str | Path) -> FormatError | None:
    """Return what is wrong with a .qir or .qprof file, its contents included; None for nothing."""
    try:
        if Path(path).suffix == ".qprof":
            load_profile(path)
        else:
            graph = load_graph(path)
            for digest in graph.contents():
                graph.store.raw(digest)
    except FormatError as error:
        return error
    return None


def save_arrays(arrays: Mapping[str, npt.NDArray[np.generic]], path: str | Path) -> None:
    """Write arrays as .npz so that a reader sees the old file or the new one; equal arrays give
    equal bytes.

    Raises:
        OptionError: The folder cannot be written to.
    """
    with replaced(Path(path)) as scratch, scratch.open("xb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # names are never 'allow_pickle'
