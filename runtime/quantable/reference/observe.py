"""Calibration statistics of a float graph: one pass over the data, exact for any thread count."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import (
    ChannelMeans,
    DataError,
    Graph,
    InvariantError,
    Level,
    OptionError,
    Profile,
    ValueStatistics,
    channel_inputs,
    graph_digest,
)
from quantable.ir.profile import BIN_COUNT
from quantable.reference.borders import check_inputs
from quantable.reference.channel_means import ChannelMeanSums
from quantable.reference.derived import Rule, derivable
from quantable.reference.runtime import ReferenceRuntime
from quantable.reference.tensors import Array
from quantable.reference.threads import one_thread, single_threaded_pool

Progress = Callable[[int], None]
"""Called with the number of samples done so far."""
ELEMENTS_PER_VALUE = 1 << 14
"""Elements of a value that one run counts, by default; extrema are always those of all elements."""
_BATCH = 1 << 17
"""Elements that are collected before they are counted: every count touches all bins of a dense
histogram."""


class _Histograms:
    """The counts of one thread.

    Attributes:
        counts: Dense histogram by value name, int64 [BIN_COUNT].
        extrema: (minimum, maximum) by value name.
        where: The sample at hand, for messages.
    """

    def __init__(self, names: frozenset[str], elements: int) -> None:
        self._names = names
        self._elements = elements
        self._waiting: dict[str, Tensor] = {}
        self._filled: dict[str, int] = {}
        self.counts: dict[str, Tensor] = {}
        self.extrema: dict[str, tuple[float, float]] = {}
        self.where = ""

    def add(self, name: str, tensor: Tensor) -> None:
        """Count the elements of a value."""
        if name not in self._names or not tensor.numel():
            return
        flat = _flat(tensor).to(torch.float32)
        # Adding zero makes a negative zero positive: extrema must not depend on which zero is met.
        low, high = (float(t) + 0.0 for t in torch.aminmax(flat))
        if not (math.isfinite(low) and math.isfinite(high)):
            found = "NaN" if math.isnan(low) or math.isnan(high) else "infinity"
            raise DataError(
                f"value '{name}': expected finite numbers, found {found}",
                where=self.where,
                help="the input is finite: look for weights that are not, and for samples outside "
                "the range that the network was trained on",
            )
        before = self.extrema.get(name, (low, high))
        self.extrema[name] = (min(low, before[0]), max(high, before[1]))
        # The upper half of a float32 is the odd one of two int16 (little endian): its bin.
        stride = 2 * _stride(flat.numel(), self._elements)
        for part in torch.split(flat.view(torch.int16)[1::stride], _BATCH):
            self._collect(name, part)

    def _collect(self, name: str, bins: Tensor) -> None:
        if name not in self._waiting:
            self._waiting[name] = torch.empty(_BATCH, dtype=torch.int16)
            self._filled[name] = 0
        if self._filled[name] + bins.numel() > _BATCH:
            self._count(name)
        start = self._filled[name]
        self._filled[name] = start + bins.numel()
        self._waiting[name][start : self._filled[name]].copy_(bins)

    def _count(self, name: str) -> None:
        bins = self._waiting[name][: self._filled[name]].to(torch.int32).bitwise_and_(0xFFFF)
        found = torch.bincount(bins, minlength=BIN_COUNT)
        self.counts[name] = self.counts[name].add_(found) if name in self.counts else found
        self._filled[name] = 0

    def finish(self) -> None:
        """Count what is still waiting."""
        with torch.inference_mode():
            for name in self._waiting:
                self._count(name)


_Part = tuple[_Histograms, Mapping[tuple[str, int], ChannelMeans]]
"""What one thread measured."""


def _stride(size: int, elements: int) -> int:
    """Return the least stride that leaves at most `elements` of `size` and is coprime with it.

    Without a common factor the elements are spread over all rows, columns and channels, where one
    that divides the width would always meet the same columns.
    """
    stride = max(1, -(-size // elements)) if elements else 1
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def _flat(tensor: Tensor) -> Tensor:
    """Return the elements in the order in which they lie in memory, copied only if scattered."""
    if not tensor.is_contiguous():
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        tensor = tensor.permute(order)
    flat = tensor.reshape(-1)  # every second element of a line, or one expanded, is still a view
    return flat if flat.stride(0) == 1 else flat.clone(memory_format=torch.contiguous_format)


def observe(
    graph: Graph,
    samples: Iterable[Mapping[str, Array]],
    *,
    threads: int = 2,
    elements: int = ELEMENTS_PER_VALUE,
    progress: Progress | None = None,
) -> Profile:
    """Measure every float activation of a graph in one pass over the data.

    Each sample is one run in one thread, and everything that is kept is a count or an extremum, so
    that the profile is the same for any number of threads, any order and any sharding.

    Args:
        graph: A graph of the float level.
        samples: One mapping from graph inputs to arrays a sample. Where the model's batch dimension
            (the first one of an input) is symbolic or 1, a sample that holds a longer batch is
            taken as that many samples. Read once, in order, as the runs need it.
        threads: Number of runs at once.
        elements: Most elements of one value that one run counts into its histogram, evenly spread;
            0 counts all. Extrema are always those of all elements.
        progress: Told after every run how many samples are done.

    Returns:
        The statistics, and the number of runs.

    Raises:
        DataError: There are no samples, or one has wrong inputs, or an input or an activation holds
            NaN or infinity. Names the first such sample (counted from 0) and the value.
        UnsupportedError: The runtime lacks operations of the graph.
    """
    if graph.level is not Level.FLOAT:
        raise InvariantError(f"observe: expected a float graph, found level {graph.level.value}")
    if threads < 1:
        raise OptionError(f"option 'threads': expected at least 1, found {threads}")
    if elements < 0:
        raise OptionError(f"option 'elements': expected at least 0, found {elements}")
    derived = derivable(graph)
    observed = frozenset(name for name in _activations(graph) if name not in derived)
    weighted = channel_inputs(graph)
    shared = _Work(ReferenceRuntime(graph), _single_runs(graph, samples), progress)

    def work() -> _Part:
        return _worker(shared, _Histograms(observed, elements), ChannelMeanSums(weighted))

    with one_thread(), single_threaded_pool(threads) as pool:
        # The calling thread works too: its memory comes from the main heap, which the C library
        # gives back to the system (and asks for again, page by page) less often.
        futures = [pool.submit(work) for _ in range(threads - 1)]
        parts = [work(), *(future.result() for future in futures)]
    if shared.errors:
        raise shared.errors[min(shared.errors)]
    if not shared.done:
        raise DataError("there are no samples: expected at least 1, found 0")
    statistics = _merged(graph, [histograms for histograms, _ in parts], derived)
    return Profile(graph_digest(graph), shared.done, statistics, _merged_means(parts))


def _activations(graph: Graph) -> list[str]:
    """Return the float values that are not parameters."""
    made = (name for op in graph.operations for name in op.outputs if name)
    return [name for name in (*graph.inputs, *made) if graph.values[name].is_real]


class _Work:
    """What the workers share: samples to come, errors, and how many are done."""

    def __init__(
        self,
        runtime: ReferenceRuntime,
        runs: Iterator[Mapping[str, Array]],
        progress: Progress | None,
    ) -> None:
        self.runtime = runtime
        self.done = 0
        self.errors: dict[int, Exception] = {}
        self._taken = 0
        self._stopped = False
        self._runs = runs
        self._progress = progress
        self._lock = threading.Lock()

    def take(self) -> tuple[int, Mapping[str, Array]] | None:
        """Return the next run, None where there is none, one failed, or a worker was stopped."""
        with self._lock:
            if self.errors or self._stopped:
                return None
            try:
                run = next(self._runs, None)
            except Exception as error:  # raised again by `observe`, if no earlier sample failed
                self.errors[self._taken] = error
                return None
            self._taken += 1
            return None if run is None else (self._taken - 1, run)

    def finish(self) -> None:
        """Count a run that is done."""
        with self._lock:
            self.done += 1
            if self._progress is not None:
                self._progress(self.done)

    def stop(self) -> None:
        """Hand out no run any more: the pool waits for its threads before Ctrl-C gets through."""
        self._stopped = True

    def fail(self, index: int, error: Exception) -> None:
        """Remember why a run failed; runs that were taken before it still end."""
        with self._lock:
            self.errors[index] = error


def _worker(work: _Work, histograms: _Histograms, means: ChannelMeanSums) -> _Part:
    graph = work.runtime.graph

    def visit(name: str, tensor: Tensor) -> None:
        histograms.add(name, tensor)
        means.add(name, tensor)

    while (run := work.take()) is not None:
        index, arrays = run
        histograms.where = f"sample {index}"
        try:
            tensors = check_inputs(graph, arrays, where=histograms.where)
            work.runtime.run_tensors(tensors, visit)
            work.finish()
        except DataError as error:
            work.fail(index, error)
            break
        except BaseException:
            work.stop()
            raise
    histograms.finish()
    return histograms, means.finish()


def _single_runs(
    graph: Graph, samples: Iterable[Mapping[str, Array]]
) -> Iterator[Mapping[str, Array]]:
    """Yield the inputs of every run; long batches are cut where the model allows it."""
    batched = [name for name in graph.inputs if _takes_single_samples(graph, name)]
    for sample in samples:
        lengths = {len(sample[n]) for n in batched if n in sample and np.ndim(sample[n])}
        count = lengths.pop() if len(lengths) == 1 else 1
        if count <= 1:
            yield sample
            continue
        for row in range(count):
            yield {
                name: np.asarray(array)[row : row + 1] if name in batched else array
                for name, array in sample.items()
            }


def _takes_single_samples(graph: Graph, name: str) -> bool:
    shape = graph.values[name].shape
    if not shape:
        return False
    return isinstance(shape[0], str) or shape[0] == 1


def _merged_means(parts: list[_Part]) -> dict[tuple[str, int], ChannelMeans]:
    merged: dict[tuple[str, int], ChannelMeans] = {}
    for _, means in parts:
        for key, sums in means.items():
            merged[key] = merged[key].merged(sums) if key in merged else sums
    return merged


def _merged(
    graph: Graph, parts: list[_Histograms], derived: Mapping[str, Rule]
) -> dict[str, ValueStatistics]:
    dense: dict[str, tuple[npt.NDArray[np.int64], float, float]] = {}
    for name in _activations(graph):
        if name in derived:
            rule = derived[name]
            dense[name] = rule.apply(*dense[rule.source])
            continue
        counts = [part.counts[name].numpy() for part in parts if name in part.counts]
        if not counts:  # the value has no elements
            dense[name] = (np.zeros(BIN_COUNT, np.int64), 0.0, 0.0)
            continue
        extrema = [part.extrema[name] for part in parts if name in part.extrema]
        low, high = min(e[0] for e in extrema), max(e[1] for e in extrema)
        dense[name] = (np.sum(counts, axis=0, dtype=np.int64), low, high)
    return {name: ValueStatistics.of(*row) for name, row in dense.items()}
