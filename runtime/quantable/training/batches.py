"""Runs of a graph on many samples at once, cut into batches in one fixed way.

A batch is faster than its samples one by one, but adds floats in another order. How samples are cut
into batches therefore depends on shapes only, never on the number of threads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import Graph, QuantableError, Value
from quantable.reference.free_batch import with_free_batch
from quantable.reference.runtime import ReferenceRuntime
from quantable.reference.samples import batch_of, sample_values
from quantable.reference.tensors import to_tensor
from quantable.reference.threads import one_thread, single_threaded_pool

Array = npt.NDArray[np.generic]
Read = Callable[[Sequence[int]], Mapping[str, Array]]
"""Returns the graph's inputs of some samples, [samples, *shape of the input]."""
Seen = TypeVar("Seen")
_THREADS = 2
_ELEMENTS = 1 << 19
"""About how many elements the largest value of a batch has: what caches hold is done sooner."""
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
        free = with_free_batch(graph)
        self._runtime = ReferenceRuntime(free)
        self._read, self._wanted = read, tuple(wanted)
        self._largest = max(
            (_elements(value) for value in graph.values.values()
             if value.name not in graph.parameters), default=1,
        )  # fmt: skip
        is_single = batch_of(graph) == 1
        self._is_by_sample = is_single and sample_values(free) is not None
        self._size: int | None = None

    def takes_batches(self, samples: Sequence[int]) -> bool:
        """Whether several samples at once give what each gives alone."""
        return self._batch_size(samples) > 1

    def run(
        self, samples: Sequence[int], look: Callable[[int, dict[str, Tensor]], Seen]
    ) -> Iterator[Seen]:
        """Yield what is seen in every batch, in order.

        Args:
            samples: Which ones to run.
            look: Is given the position of the batch in `samples`, and values by name [n, *shape];
                called in the thread that ran the batch, of which there are several.
        """
        if not len(samples):
            return
        if self._size is None:
            self._size = self._batch_size(samples)
        size = self._size

        def run(start: int) -> Seen:
            given = self._read(samples[start : start + size])
            found = self._run_one(given, 0) if size == 1 else self._run_batch(given)
            return look(start, found)

        with one_thread(), single_threaded_pool(_THREADS) as pool:
            # A few batches ahead at most, so that results do not pile up.
            ahead: deque[Future[Seen]] = deque()
            for start in range(0, len(samples), size):
                ahead.append(pool.submit(run, start))
                if len(ahead) > _THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

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
        with torch.inference_mode():
            return self._runtime.execute(given, self._wanted)

    def _batch_size(self, samples: Sequence[int]) -> int:
        """Return how many samples a batch may have: 1 unless two give what each gives alone."""
        fitting = max(1, min(_LARGEST, _ELEMENTS // self._largest))
        if len(samples) < 2 or fitting < 2:
            return 1
        if self._is_by_sample:
            return fitting
        given = self._read(samples[:2])
        if any(array.ndim < 2 for array in given.values()):
            return 1
        with one_thread():
            alone = [self._run_one(given, index) for index in range(2)]
        try:
            with one_thread():
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


def _elements(value: Value) -> int:
    """Return how many elements a value has, as far as its shape is known; at least 1."""
    return math.prod(max(dim, 1) for dim in value.shape or () if isinstance(dim, int))
