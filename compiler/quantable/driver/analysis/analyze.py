"""What quantization does to a network, and where: all analyses in one pass over the samples.

from quantable.driver.analysis.analyze import analyze

found = analyze(graph, "images.npz", preprocessing)
found.facts()["layerwise"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from quantable.driver.analysis.budget import Budget
from quantable.driver.analysis.graphwise import Graphwise
from quantable.driver.analysis.layerwise import Layerwise
from quantable.driver.analysis.measures import Totals, decibels, noise
from quantable.driver.analysis.profile import profile_statistics
from quantable.driver.analysis.remedies import Remedies
from quantable.driver.analysis.shifts import Shifts
from quantable.driver.analysis.statistics import Statistics
from quantable.driver.analysis.subject import (
    Pair,
    Progress,
    Subject,
    pairs,
    require_calibrated,
    subject,
)
from quantable.driver.calibration_warnings import FEW_SAMPLES
from quantable.driver.data import Samples, Source, open_samples
from quantable.driver.preprocessing import Preprocessing
from quantable.ir import DataError, Graph, OptionError, Profile, UnknownNameError, graph_digest

FACTS_VERSION = 1
"""Of the keys of `Analysis.facts`; a key is never renamed or given another meaning without it."""
SAMPLES = 8


class Part(Protocol):
    """One analysis."""

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        ...

    def facts(self) -> Any:
        """Return the result as JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table of analyses.

    Attributes:
        summary: What it answers.
        start: Makes it for a subject, given the analyses that it needs.
        needs: Names of analyses that must have seen all samples before it sees the first.
    """

    summary: str
    start: Callable[..., Part]
    needs: tuple[str, ...] = ()


ANALYSES: dict[str, Entry] = {
    "graphwise": Entry("error at every value, all quantized: it accumulates", Graphwise),
    "layerwise": Entry("error of one operation at a time, alone and left out", Layerwise),
    "budget": Entry("the network's error, split among tensors and causes", Budget),
    "remedies": Entry("what would help, and by how much", Remedies, ("budget", "shifts")),
    "shifts": Entry("average errors of channels, which a bias could take out", Shifts),
    "statistics": Entry("what tensors hold, and how their grids are used", Statistics),
}
"""Every analysis by name, in the order in which they are shown."""


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        subject: What was analysed.
        outputs: By measured value, the error of the quantized network.
        parts: By name, the analyses.
        remarks: What to bear in mind.
    """

    subject: Subject
    outputs: Mapping[str, Totals]
    parts: Mapping[str, Part]
    remarks: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values; see docs/analysis.md for the keys."""
        return {
            **header(self.subject.graph),
            "samples": len(self.subject.samples),
            "remarks": list(self.remarks),
            "measured_at": list(self.subject.measured),
            "outputs": {name: totals.facts() for name, totals in self.outputs.items()},
            "network_db": decibels(noise(self.outputs)),
            **{name: part.facts() for name, part in self.parts.items()},
        }


def header(graph: Graph) -> dict[str, Any]:
    """Return what facts say about a graph first."""
    return {
        "version": FACTS_VERSION,
        "network": graph.name,
        "graph_digest": graph_digest(graph),
        "target": graph.target,
    }


def analyze_profile(graph: Graph, profile: Profile) -> dict[str, Any]:
    """Return what calibration statistics say about a quantable graph, as JSON values.

    Raises:
        OptionError: The graph is not quantized or not calibrated.
        DataError: The profile was measured on another graph.
    """
    require_calibrated(graph)
    return {**header(graph), "profile": profile_statistics(graph, profile)}


def analyze(
    graph: Graph,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    only: Sequence[str] = (),
    at: Sequence[str] = (),
    progress: Progress | None = None,
) -> Analysis:
    """Analyse a quantable graph.

    Args:
        graph: Calibrated; baked or not. Its dequantized form is the float reference.
        data, preprocessing: See `open_samples`.
        samples: Use so many, from the start; by default `SAMPLES`, or all that there are.
        only: Names of analyses; by default all.
        at: Names of the values at which the network's error is measured; by default its outputs, or
            what a Softmax that ends the network is given.
        progress: Told how much of the work is done.

    Raises:
        OptionError: The graph is not quantized or not calibrated, or an option is out of range.
        UnknownNameError: There is no such analysis or value.
        DataError: The data cannot be used, or a value is not finite.
    """
    chosen = _chosen(only)
    found = _opened(graph, data, preprocessing, samples)
    remarks = []
    if len(found) < FEW_SAMPLES:
        remarks.append(f"{len(found)} samples say little: expected {FEW_SAMPLES} or more")
    rounds = _rounds(chosen)
    counted = _Counter((1 + len(rounds)) * len(found), progress)
    about = subject(graph, found, at, counted.step)
    if not about.measured:
        raise OptionError("the network has no float output to measure an error at",
                          help="name values to measure at")  # fmt: skip
    outputs = about.totals_at_outputs()
    done: dict[str, Part] = {}
    for names in rounds:
        fresh = {name: _started(name, about, done) for name in names}
        for pair in pairs(about, counted.step):
            for part in fresh.values():
                part.add(pair)
            for name, totals in outputs.items():
                if not done:
                    totals.add(pair.real[name], pair.quantized[name])
        done.update(fresh)
    parts = {name: done[name] for name in ANALYSES if name in chosen}
    return Analysis(about, outputs, parts, tuple(remarks))


def _chosen(only: Sequence[str]) -> set[str]:
    for name in only:
        if name not in ANALYSES:
            raise UnknownNameError("analysis", name, ANALYSES)
    return set(only or ANALYSES)


def _rounds(chosen: set[str]) -> list[list[str]]:
    """Return what sees the samples first, and what sees them once that is done."""
    needed = {need for name in chosen for need in ANALYSES[name].needs}
    second = [name for name in ANALYSES if name in chosen and ANALYSES[name].needs]
    first = [name for name in ANALYSES if name in chosen | needed and name not in second]
    return [first, second] if second else [first]


def _started(name: str, about: Subject, done: Mapping[str, Part]) -> Part:
    entry = ANALYSES[name]
    return entry.start(about, *(done[need] for need in entry.needs))


class _Counter:
    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def step(self, done: int, total: int) -> None:
        del done, total
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _opened(
    graph: Graph, data: Source | Samples, preprocessing: Preprocessing | None, samples: int | None
) -> Samples:
    if samples is not None and samples < 1:
        raise OptionError(f"samples: expected at least 1, found {samples}")
    found = data if isinstance(data, Samples) else open_samples(data, graph, preprocessing)
    if samples is not None and len(found) < samples:
        raise DataError(
            f"too few samples: expected {samples}, found {len(found)}",
            help="ask for fewer with --samples, or give more data",
        )
    return replace(found, indices=list(found.indices)[: samples or SAMPLES])
