"""What quantization for a target would cost a float graph: the judge of passes that rewrite one.

A judgement quantizes the graph as the default pipelines do (without storing the integers, which
changes no number), observes it on samples to fit on, and measures its outputs on samples that are
held out. A Softmax in front of an output is left out: the probabilities of the few likeliest
classes say little about the errors of all others, and much about the few samples that there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.driver import runtime
from quantable.driver.context import context_for
from quantable.driver.pipelines import resolve
from quantable.driver.stages import STAGE
from quantable.ir import Graph, Profile, graph_digest
from quantable.passes.base import run_passes
from quantable.passes.laboratory import Laboratory, fitting_samples, held_out_samples
from quantable.passes.network_noise import judged_values
from quantable.targets.description import Target

Array = npt.NDArray[np.generic]
Float64 = npt.NDArray[np.float64]
Observe = Callable[..., Profile]
QUANTIZE = STAGE["quantize"].pipeline
CALIBRATE = f"{STAGE['calibrate'].pipeline},align,passive-parameters"
"""What a judged graph is given, before and after its samples are observed."""

_ELEMENTS = 1 << 22
_FEWEST, _MOST = 16, 128


@dataclass(frozen=True)
class _Judgement:
    noise: float
    parts: tuple[float, ...]


class QuantizedNoise:
    """Judges float graphs (see `quantable.passes.laboratory.Judge`), sample by sample too.

    Args:
        reference: The float graph whose outputs are right.
        target: What graphs are quantized for.
        laboratory: Runs graphs; has at least `HOLD_OUT` samples.
        observe: Measures float graphs; by default the reference runtime's observer.
        quantize, calibrate: The pipelines around observing.
    """

    def __init__(
        self,
        reference: Graph,
        target: Target,
        laboratory: Laboratory,
        *,
        observe: Observe | None = None,
        quantize: str = QUANTIZE,
        calibrate: str = CALIBRATE,
    ) -> None:
        self._reference, self._target, self._laboratory = reference, target, laboratory
        self._observe = observe
        self._pipelines = (resolve(quantize), resolve(calibrate))
        most = _sample_limit(reference)
        self._fitting = evenly(fitting_samples(laboratory.count), most)
        self._judging = evenly(held_out_samples(laboratory.count), most)
        self._right: list[Array] = []
        self._known: dict[str, _Judgement] = {}

    def __call__(self, graph: Graph) -> float:
        """Return the noise of the quantized graph's outputs, averaged over the outputs."""
        return self._judgement(graph).noise

    def parts(self, graph: Graph) -> tuple[float, ...]:
        """Return the same of each sample that judges."""
        return self._judgement(graph).parts

    def _judgement(self, graph: Graph) -> _Judgement:
        key = graph_digest(graph)
        if key not in self._known:
            self._known[key] = self._measured(graph)
        return self._known[key]

    def quantized(self, graph: Graph) -> Graph:
        """Return a float graph as the target would compute it, with simulated quantization."""
        observe = self._observe or runtime.observer()
        profile = observe(graph, self._samples(graph))
        context = context_for(graph, self._target, profile)
        # A candidate that is kept is verified by the pass that offers it.
        bare = replace(graph, history=())
        quantized = run_passes(bare, self._pipelines[0], context, instruments=())
        return run_passes(quantized, self._pipelines[1], context, instruments=())

    def _measured(self, graph: Graph) -> _Judgement:
        names = judged_values(graph)
        found = self._laboratory.values(self.quantized(graph), names, self._judging)
        noises, parts = [], np.zeros(len(self._judging))
        for name, right in zip(names, self._targets(), strict=True):
            errors, signals = _squares(found[name], right)
            noises.append(_ratio(errors.sum(), signals.sum()))
            parts += [_ratio(*pair) for pair in zip(errors, signals, strict=True)]
        return _Judgement(float(np.mean(noises)), tuple((parts / len(names)).tolist()))

    def _targets(self) -> list[Array]:
        if not self._right:
            names = judged_values(self._reference)
            found = self._laboratory.values(self._reference, names, self._judging)
            self._right = [found[name] for name in names]
        return self._right

    def _samples(self, graph: Graph) -> Iterator[dict[str, Array]]:
        given = self._laboratory.values(graph, graph.inputs, self._fitting)
        for index in range(len(self._fitting)):
            yield {name: array[index] for name, array in given.items()}


def _squares(found: Array, right: Array) -> tuple[Float64, Float64]:
    """Return the squared errors and the squares of what is right, by sample."""
    sums = np.zeros((2, len(right)))
    for index in range(len(right)):
        target = right[index].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            sums[0, index] = np.square(found[index] - target).sum()
        sums[1, index] = np.square(target).sum()
    return sums[0], sums[1]


def _ratio(error: float, signal: float) -> float:
    if not np.isfinite(error):
        return math.inf
    return float(error / signal if signal > 0 else error)


def evenly(samples: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the samples, evenly spread over all."""
    count = min(len(samples), most)
    return [samples[index * len(samples) // count] for index in range(count)]


def _sample_limit(graph: Graph) -> int:
    """Return how many samples are observed: it bounds time, and depends on shapes only."""
    elements = sum(
        int(np.prod([dim if isinstance(dim, int) else 1 for dim in graph.values[name].shape or ()]))
        for name in graph.inputs
    )
    return min(max(_ELEMENTS // max(elements, 1), _FEWEST), _MOST)
