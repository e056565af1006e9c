"""The reference runtime on all calibration samples: what passes that need data are given."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from quantable.ir import DataError, Graph
from quantable.training.batches import BatchRunner, Read
from quantable.training.fitting import fitted
from quantable.training.second_moments import (
    LayerRows,
    SecondMoments,
    layer_rows,
    second_moments,
)
from quantable.training.storage import Store, release
from quantable.training.task import Fit, Task

Array = npt.NDArray[np.generic]
_Energies = tuple[float, float]


class ReferenceLaboratory:
    """Runs graphs on samples (see `quantable.passes.laboratory.Laboratory`).

    Args:
        samples: One mapping from graph input to array a sample; read once.

    Raises:
        DataError: There are no samples, or two of them have different shapes.
    """

    def __init__(self, samples: Iterable[Mapping[str, Array]]) -> None:
        self._inputs, self.count = _gathered(samples)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 over the samples as the network is given them."""
        h = hashlib.sha256()
        for name, array in sorted(self._inputs.items()):
            h.update(f"{name}\0{array.dtype.str}{array.shape}\0".encode())
            for sample in array:
                h.update(np.ascontiguousarray(sample).tobytes())
            release(array)
        return h.hexdigest()

    def values(
        self,
        graph: Graph,
        names: Sequence[str],
        samples: Sequence[int],
        feeds: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Return values [samples, *shape] of a graph; large ones lie on disk."""
        found: dict[str, Store] = {}
        lock = threading.Lock()

        def keep(start: int, batch: Mapping[str, Tensor]) -> None:
            for name, tensor in batch.items():
                part = tensor.numpy()
                with lock:
                    if name not in found:
                        found[name] = Store((len(samples), *part.shape[1:]), part.dtype)
                found[name].put(start, part)

        runner = BatchRunner(graph, self._reader(graph, feeds), names)
        for _ in runner.run(self._rows(samples, feeds), keep):
            pass
        return {name: found[name].filled() for name in names}

    def noise(
        self,
        graph: Graph,
        targets: Mapping[str, Array],
        samples: Sequence[int],
        feeds: Mapping[str, Array] | None = None,
    ) -> dict[str, float]:
        """Return by name sum((value - target)**2) / sum(target**2)."""
        errors = dict.fromkeys(targets, 0.0)
        signals = dict.fromkeys(targets, 0.0)

        def compare(start: int, batch: Mapping[str, Tensor]) -> dict[str, list[_Energies]]:
            return {
                name: _energies(tensor.numpy(), targets[name][start : start + len(tensor)])
                for name, tensor in batch.items()
            }

        runner = BatchRunner(graph, self._reader(graph, feeds), tuple(targets))
        for seen in runner.run(self._rows(samples, feeds), compare):
            for name, energies in seen.items():
                for error, signal in energies:
                    errors[name] += error
                    signals[name] += signal
        for array in targets.values():
            release(array)
        return {name: _ratio(errors[name], signals[name]) for name in targets}

    def second_moments(
        self,
        graph: Graph,
        operation: str,
        quantized: Array,
        original: Array,
        samples: Sequence[int],
        *,
        rows: int | None = None,
        sums_only: bool = False,
    ) -> SecondMoments:
        """Return the second moments of a layer's inputs, see `second_moments`."""
        return second_moments(
            graph, operation, quantized, original, samples, rows=rows, sums_only=sums_only
        )

    def layer_rows(
        self,
        graph: Graph,
        operation: str,
        quantized: Array,
        original: Array,
        samples: Sequence[int],
    ) -> LayerRows:
        """Return rows of a layer's inputs, see `layer_rows`."""
        return layer_rows(graph, operation, quantized, original, samples)

    def fit(self, task: Task) -> Fit:
        """Fit weights, scales and biases of a part of a graph to targets, see `fitting`."""
        return fitted(task)

    def _rows(self, samples: Sequence[int], feeds: Mapping[str, Array] | None) -> Sequence[int]:
        # What is fed holds just the samples that were asked for.
        return range(len(samples)) if feeds is not None else samples

    def _reader(self, graph: Graph, feeds: Mapping[str, Array] | None) -> Read:
        source = self._inputs if feeds is None else feeds
        missing = [name for name in graph.inputs if name not in source]
        if missing:
            raise DataError(
                f"the samples hold nothing for input '{missing[0]}' (found: "
                f"{', '.join(sorted(source))})", where=f"graph '{graph.name}'",
            )  # fmt: skip

        def read(rows: Sequence[int]) -> dict[str, Array]:
            for name in graph.inputs:
                release(source[name])  # what the batches before looked at
            return {name: _taken(source[name], rows) for name in graph.inputs}

        return read


def _taken(array: Array, rows: Sequence[int]) -> Array:
    if rows and list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return np.asarray(array[rows[0] : rows[-1] + 1])
    return np.asarray(array[np.asarray(rows, np.int64)])


def _energies(found: Array, wanted: Array) -> list[_Energies]:
    """Return (error, signal), sample by sample: no bit depends on how samples are cut."""
    energies = []
    for sample, target in zip(found, wanted.astype(np.float64), strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            error = float(np.square(sample - target).sum())
        energies.append((error, float(np.square(target).sum())))
    return energies


def _ratio(error: float, signal: float) -> float:
    if not math.isfinite(error):
        return math.inf
    return error / signal if signal > 0 else error


def _gathered(samples: Iterable[Mapping[str, Array]]) -> tuple[dict[str, Array], int]:
    """Return the samples by input name, [samples, *shape], and their number."""
    held = [{name: np.asarray(array) for name, array in sample.items()} for sample in samples]
    if not held:
        raise DataError("there are no samples: expected at least 1, found 0")
    inputs: dict[str, Array] = {}
    for name, first in held[0].items():
        store = Store((len(held), *first.shape), first.dtype)
        for index, sample in enumerate(held):
            if sample[name].shape != first.shape:
                raise DataError(
                    f"input '{name}': expected the shape of the first sample, "
                    f"{list(first.shape)}, found {list(sample[name].shape)}",
                    where=f"sample {index}",
                    help="bring all samples to one shape",
                )
            store.put(index, sample[name][None])
        inputs[name] = store.filled()
    return inputs, len(held)
