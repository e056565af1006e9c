"""Runs of a graph on many samples at once, cut into batches in one fixed way.

A batch is faster than its samples one by one, but adds floats in another order. How samples are cut
into batches therefore depends on shapes only, never on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import Graph, QuantableError
from quantable.reference.runtime import ReferenceRuntime
from quantable.reference.tensors import to_tensor
from quantable.reference.threads import one_thread
from quantable.training.free_batch import with_free_batch

Array = npt.NDArray[np.generic]
Read = Callable[[Sequence[int]], Mapping[str, Array]]
"""Returns the graph's inputs of some samples, [samples, *shape of the input]."""
_THREADS = 2
_ELEMENTS = 1 << 21
"""About how many input elements a batch has: it bounds the memory of a run."""
_LARGEST = 64
_CLOSE = 1e-3


class BatchRunner:
    """Runs a graph on samples, several at a time where the graph allows it.

    Args:
        graph: Of the float or quantable level.
        read: Reads inputs of samples.
        wanted: Names of the values to return.
    """

    def __init__(self, graph: Graph, read: Read, wanted: Sequence[str]) -> None:
        self._runtime = ReferenceRuntime(with_free_batch(graph))
        self._graph, self._read, self._wanted = graph, read, tuple(wanted)
        self._size: int | None = None

    def takes_batches(self, samples: Sequence[int]) -> bool:
        """Whether several samples at once give what each gives alone."""
        return self._batch_size(samples) > 1

    def run(self, samples: Sequence[int]) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield (position in `samples`, value by name [n, *shape]) of every batch, in order."""
        if not len(samples):
            return
        if self._size is None:
            self._size = self._batch_size(samples)
        size = self._size
        starts = range(0, len(samples), size)
        with ThreadPoolExecutor(_THREADS) as pool:
            # A few batches ahead at most, so that results do not pile up.
            ahead: list[tuple[int, object]] = []
            for start in starts:
                ahead.append((start, pool.submit(self._run, samples[start : start + size])))
                if len(ahead) > _THREADS:
                    first, future = ahead.pop(0)
                    yield first, future.result()  # type: ignore[attr-defined]
            for first, future in ahead:
                yield first, future.result()  # type: ignore[attr-defined]

    def _run(self, samples: Sequence[int]) -> dict[str, Tensor]:
        given = self._read(samples)
        if self._size == 1 or self._size is None:
            return self._run_one(given, 0)
        return self._run_batch(given)

    def _run_one(self, given: Mapping[str, Array], index: int) -> dict[str, Tensor]:
        found = self._execute({name: to_tensor(array[index]) for name, array in given.items()})
        return {name: tensor.unsqueeze(0) for name, tensor in found.items()}

    def _run_batch(self, given: Mapping[str, Array]) -> dict[str, Tensor]:
        joined, count = {}, 0
        for name, array in given.items():
            count = len(array)
            joined[name] = to_tensor(array.reshape(-1, *array.shape[2:]))
        found = self._execute(joined)
        return {
            name: tensor.reshape(count, -1, *tensor.shape[1:]) for name, tensor in found.items()
        }

    def _execute(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with one_thread(), torch.inference_mode():
            return self._runtime.execute(given, self._wanted)

    def _batch_size(self, samples: Sequence[int]) -> int:
        """Return how many samples a batch may have: 1 unless two give what each gives alone."""
        given = self._read(samples[:2])
        size = max((int(np.prod(array.shape[1:])) for array in given.values()), default=1)
        fitting = max(1, min(_LARGEST, _ELEMENTS // max(size, 1)))
        if len(samples) < 2 or fitting < 2 or any(array.ndim < 2 for array in given.values()):
            return 1
        alone = [self._run_one(given, index) for index in range(2)]
        try:
            together = self._run_batch(given)
        except (QuantableError, RuntimeError):
            return 1  # the graph holds its batch dimension as a constant
        for name in self._wanted:
            expected = torch.cat([single[name] for single in alone])
            if expected.shape != together[name].shape:
                return 1
            scale = float(expected.abs().max()) if expected.numel() else 0.0
            distance = (expected.double() - together[name].double()).abs()
            # One flipped rounding of a simulated quantizer is no other function.
            if expected.numel() and float(distance.mean()) > _CLOSE * scale:
                return 1
        return fitting
