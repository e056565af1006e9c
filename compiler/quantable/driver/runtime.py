"""Where the driver gets the runtime from. Imported when asked for: torch takes seconds to start.

Nothing else of the compiler knows the runtime: a pass gets an executor handed in.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from quantable.ir import NO_OPERATIONS, Graph, Operation, OperationLibrary, Profile
from quantable.passes.base import Executor
from quantable.passes.laboratory import Laboratory

Array = npt.NDArray[np.generic]
Sample = Mapping[str, Array]


class Runtime(Protocol):
    """What runs a graph of any level."""

    def run(self, inputs: Sample, outputs: Iterable[str] | None = None) -> dict[str, Array]:
        """Return the graph's outputs, or the named values."""
        ...


class Reference(Runtime, Protocol):
    """The reference runtime of one graph."""

    def run_each(
        self, samples: Iterable[Sample], outputs: Iterable[str] | None = None
    ) -> Iterator[dict[str, Array]]:
        """Yield what `run` returns for each sample, in order."""
        ...


def executor(library: OperationLibrary = NO_OPERATIONS) -> Executor:
    """Return what passes use to run single float operations."""
    made = importlib.import_module("quantable.reference").FloatExecutor(library=library)
    return cast("Executor", made)


def reference(graph: Graph, threads: int = 1) -> Reference:
    """Return the reference runtime of a graph, which runs as many samples at the same time."""
    module = importlib.import_module("quantable.reference")
    return cast("Reference", module.ReferenceRuntime(graph, threads=threads))


def observer() -> Callable[..., Profile]:
    """Return `quantable.reference.observe`."""
    return cast("Callable[..., Profile]", importlib.import_module("quantable.reference").observe)


def laboratory() -> Callable[[Iterable[Sample]], Laboratory]:
    """Return what makes a laboratory of samples."""
    module = importlib.import_module("quantable.training")
    return cast("Callable[[Iterable[Sample]], Laboratory]", module.ReferenceLaboratory)


def compiled_model() -> Callable[..., Runtime]:
    """Return the adapter that compiles emitted C and runs it, here or under an emulator."""
    module = importlib.import_module("quantable.adapters.c_program")
    return cast("Callable[..., Runtime]", module.open_model)


def run_selftest() -> Callable[..., tuple[bool, str]]:
    """Return the function that compiles and runs the self test of emitted C."""
    module = importlib.import_module("quantable.adapters.c_compiler")
    return cast("Callable[..., tuple[bool, str]]", module.run_selftest)


def ort_model() -> Callable[..., Runtime]:
    """Return the adapter that runs an ONNX file in ONNX Runtime."""
    module = importlib.import_module("quantable.adapters.onnxruntime")
    return cast("Callable[..., Runtime]", module.OrtModel)


def pytorch_exporter() -> ModuleType:
    """Return `quantable.exporters.pytorch`, which turns modules into ONNX files."""
    return importlib.import_module("quantable.exporters.pytorch")


def pytorch_loading() -> ModuleType:
    """Return `quantable.exporters.loading`, which finds modules by reference."""
    return importlib.import_module("quantable.exporters.loading")


class LazyExecutor:
    """An executor that starts the runtime when the first operation is run.

    Args:
        library: The user operations at hand.
    """

    def __init__(self, library: OperationLibrary = NO_OPERATIONS) -> None:
        self._library = library
        self._executor: Executor | None = None

    def run_operation(
        self, operation: Operation, inputs: Sequence[Array | None]
    ) -> tuple[Array, ...]:
        """Execute one float operation on constant inputs."""
        if self._executor is None:
            self._executor = executor(self._library)
        return self._executor.run_operation(operation, inputs)


def comparison() -> Callable[..., Any]:
    """Return `quantable.adapters.difference.compare`."""
    module = importlib.import_module("quantable.adapters.difference")
    return cast("Callable[..., Any]", module.compare)
