"""Where do two forms of one network begin to compute something else?

Two stages of any level, or a stage and an emitted folder, are run on the same inputs. Their values
are joined by the float value that they stand for, else by the provenance of what makes them,
and compared as real numbers; the first operation whose result is further off than a threshold is
named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.backends.registry import backend
from quantable.driver import api, runtime
from quantable.driver.data import Sample, Samples, Source
from quantable.driver.emission import changed_files, read_manifest
from quantable.driver.preprocessing import Preprocessing
from quantable.driver.standing import OutputQuantizer, Standing, standings, with_real_values
from quantable.driver.validate import emitted_graph
from quantable.ir import (
    FormatError,
    Graph,
    Level,
    Operation,
    OperationLibrary,
    OptionError,
    graph_digest,
    numerics,
)
from quantable.ir.diff import Matching, Measure
from quantable.schema import load

Array = npt.NDArray[np.generic]
Run = Callable[[Sample, Sequence[str]], Mapping[str, Array]]
THRESHOLD_DB = 20.0
TIE_DISTANCE = 2.0**-11
"""In quantization steps: up to here the order of a float32 sum decides how a number is rounded; as
in `quantable.adapters.difference`."""


@dataclass
class ValueComparison:
    """One pair of values.

    Attributes:
        value: Name in the first graph.
        operation: What makes it there.
        measure: How far apart the real numbers are.
        differing_steps: Elements that are quantized to different integers; None where the value is
            not quantized.
        ties: Those of them that are one step apart and lay next to a tie.
    """

    value: str
    operation: Operation
    measure: Measure = field(default_factory=Measure)
    differing_steps: int | None = None
    ties: int = 0

    @property
    def tie_share(self) -> float | None:
        """The share of tie cases in the elements quantized to different integers."""
        return self.ties / self.differing_steps if self.differing_steps else None

    def is_beyond(self, threshold_db: float) -> bool:
        """Whether the signal-to-noise ratio is below a threshold."""
        if not self.measure.differing:
            return False
        sqnr = self.measure.sqnr_db
        return sqnr is None or sqnr < threshold_db

    def facts(self) -> dict[str, object]:
        """Return the comparison as JSON values."""
        return {
            "value": self.value, "operation": self.operation.name, "kind": self.operation.kind,
            "sources": list(self.operation.sources), "elements": self.measure.elements,
            "differing": self.measure.differing, "sqnr_db": self.measure.sqnr_db,
            "cosine": self.measure.cosine, "max_error": self.measure.max_abs,
            "differing_steps": self.differing_steps, "tie_share": self.tie_share,
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        values: Every joined value, in the topological order of the first side.
        samples: Number of inputs.
        threshold_db: What counts as a difference.
    """

    values: tuple[ValueComparison, ...]
    samples: int
    threshold_db: float

    @property
    def first(self) -> ValueComparison | None:
        """The first value beyond the threshold."""
        return next((v for v in self.values if v.is_beyond(self.threshold_db)), None)

    def facts(self) -> dict[str, object]:
        """Return the result as JSON values."""
        return {
            "samples": self.samples,
            "threshold_db": self.threshold_db,
            "first": None if self.first is None else self.first.facts(),
            "values": [value.facts() for value in self.values],
        }


@dataclass(frozen=True)
class _Side:
    """A form of the network that can be run.

    Attributes:
        graph: Its graph; None for an emitted folder without stage files.
        run: Returns the named values.
        standings: What can be observed.
        quantizers: By value, what quantizes it where it is made.
    """

    graph: Graph | None
    run: Run
    standings: tuple[Standing, ...]
    quantizers: Mapping[str, OutputQuantizer]


def compare(
    a: str | Path,
    b: str | Path,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    threshold_db: float = THRESHOLD_DB,
    origin: str | Path | None = None,
    progress: api.Progress | None = None,
    operations: OperationLibrary | None = None,
) -> Comparison:
    """Run two forms of a network and compare every value that both have.

    Args:
        a, b: A .qir file of any level, or a folder of emitted code; at most one folder.
        data, preprocessing, samples: See `open_samples`.
        threshold_db: A value is beyond it when its signal-to-noise ratio is below.
        origin: The quantable file that an integer one was lowered from; by default the other side,
            or the file beside it that its history names.
        progress: Told about every sample.
        operations: The user operations at hand; by default those of installed packages.

    Raises:
        OptionError: Both are folders, or they have no value in common.
        FormatError: A file or folder cannot be used.
        DataError: The data cannot be used.
    """
    paths = Path(a), Path(b)
    if all(path.is_dir() for path in paths):
        raise OptionError("expected at least one stage file, found two folders",
                          help="compare a .qir file with each of them")  # fmt: skip
    graphs = [None if path.is_dir() else api.load(path, operations) for path in paths]
    stage = graphs[0] or graphs[1]
    assert stage is not None
    found = data if isinstance(data, Samples) else api.open_samples(
        data, stage, preprocessing, samples=samples
    )  # fmt: skip
    given = None if origin is None else api.load(origin, operations)
    with ExitStack() as stack:
        sides = [
            _folder_side(path, stage, stack) if own is None
            else _stage_side(path, own, other or stage, given)
            for path, own, other in zip(paths, graphs, reversed(graphs), strict=True)
        ]  # fmt: skip
        values = _compared(sides[0], sides[1], stage, found, progress)
    return Comparison(tuple(values), len(found), threshold_db)


# ---------------------------------------------------------------- the two sides


def _stage_side(path: Path, graph: Graph, other: Graph, given: Graph | None) -> _Side:
    if graph.level is Level.QUANTABLE:
        probed, quantizers = with_real_values(graph)
        return _Side(graph, runtime.reference(probed).run, tuple(standings(graph)), quantizers)
    origin = None
    if graph.level is not Level.FLOAT:
        origin = given or _origin(path, graph, other)
    held = tuple(standings(graph, origin, other.values))
    return _Side(graph, runtime.reference(graph).run, held, {})


def _origin(path: Path, graph: Graph, other: Graph) -> Graph | None:
    """Return the quantable graph that an integer one was lowered from, if it can be found."""
    digests = {record.input_digest for record in graph.history}
    if other.level is Level.QUANTABLE and graph_digest(other) in digests:
        return other
    for sibling in sorted(path.parent.glob("*.qir")):
        try:
            found = load(sibling)
        except FormatError:
            continue  # a foreign or damaged neighbour is none of our business
        is_calibrated = found.rows and all(row.is_filled for row in found.rows.values())
        if found.level is Level.QUANTABLE and is_calibrated and graph_digest(found) in digests:
            return found
    return other if other.level is Level.QUANTABLE else None


def _folder_side(path: Path, stage: Graph, stack: ExitStack) -> _Side:
    manifest = read_manifest(path)
    if not (path / "model.onnx").is_file():
        compiled = runtime.compiled_model()(path)

        def run_c(sample: Sample, names: Sequence[str]) -> Mapping[str, Array]:
            del names
            found: Mapping[str, Array] = compiled.run_real(sample)  # type: ignore[attr-defined] # of this adapter only
            return found

        names = [str(row["name"]) for row in manifest["outputs"]]
        return _Side(None, run_c, _outputs(names, stage), {})
    file, names = path / "model.onnx", [str(row["name"]) for row in manifest["outputs"]]
    if not changed_files(path, manifest):
        graph = emitted_graph(path, manifest, stage.library)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backend("onnx").emit(graph, scratch, every_value=True)  # type: ignore[call-arg] # only this backend has it
        file = scratch / "model.onnx"
        return _Side(graph, runtime.ort_model()(file).run, tuple(standings(graph)), {})
    return _Side(None, runtime.ort_model()(file).run, _outputs(names, stage), {})


def _outputs(names: Iterable[str], stage: Graph) -> tuple[Standing, ...]:
    """Return the outputs of emitted code, made by what makes them in the stage."""
    made = stage.producers
    return tuple(Standing(name, name, made[name]) for name in names if name in made)


# ---------------------------------------------------------------- joining


def _joined(a: _Side, b: _Side) -> list[tuple[Standing, Standing]]:
    """Return the pairs of values, by what they stand for, then by what makes them."""
    # Of an integer output and the float one behind it, the former, which is first.
    left = {held.key: held for held in reversed(a.standings)}
    left = {held.key: left[held.key] for held in a.standings}
    right = {held.key: held for held in reversed(b.standings)}
    partners = {key: right[key] for key in left if key in right}
    if a.graph is not None and b.graph is not None and a.graph.level is b.graph.level:
        by_value = {held.value: held for held in b.standings}
        taken = {held.value for held in partners.values()}
        for mine, theirs in _same_makers(a.graph, b.graph):
            if mine in left and mine not in partners and theirs in by_value.keys() - taken:
                partners[mine] = by_value[theirs]
    pairs = [(held, partners[key]) for key, held in left.items() if key in partners]
    return [pair for pair in pairs if _is_real(pair[0], a) == _is_real(pair[1], b)]


def _same_makers(a: Graph, b: Graph) -> Iterator[tuple[str, str]]:
    """Yield the outputs of operations that a diff matches, whatever their names."""
    matching = Matching(a, b)
    for one, other in matching.pairs():
        yield from zip(
            matching.a.operations[one].outputs, matching.b.operations[other].outputs, strict=False
        )


def _is_real(held: Standing, side: _Side) -> bool:
    """Whether a value is, or can be turned into, real numbers."""
    if held.scale is not None or side.graph is None:
        return True
    return side.graph.values[held.value].is_real


# ---------------------------------------------------------------- comparing


def _compared(
    a: _Side, b: _Side, stage: Graph, samples: Samples, progress: api.Progress | None
) -> list[ValueComparison]:
    pairs = _joined(a, b)
    if not pairs:
        raise OptionError(
            "the two have no value in common", help="compare two stages of one network, "
            "and name the quantable file of an integer one with --origin",
        )  # fmt: skip
    found = [ValueComparison(one.key, one.operation) for one, _ in pairs]
    sides = (a, _wanted(a, [one for one, _ in pairs])), (b, _wanted(b, [two for _, two in pairs]))
    for done, sample in enumerate(samples, 1):
        results = [side.run(_renamed(sample, side, stage), names) for side, names in sides]
        for (one, other), row in zip(pairs, found, strict=True):
            left, right = one.real(results[0][one.value]), other.real(results[1][other.value])
            if left.shape != right.shape:
                raise OptionError(
                    f"value '{one.key}' has shape {list(left.shape)} on one side and "
                    f"{list(right.shape)} on the other", help="compare stages of one network"
                )  # fmt: skip
            row.measure.add(left, right)
            _count_ties(row, (left, right), ((a, one, results[0]), (b, other, results[1])))
        if progress is not None:
            progress(done, len(samples))
    return found


def _wanted(side: _Side, held: Sequence[Standing]) -> list[str]:
    names = [entry.value for entry in held]
    return [*names, *(side.quantizers[n].real for n in names if n in side.quantizers)]


def _renamed(sample: Sample, side: _Side, stage: Graph) -> Sample:
    """Return the inputs under the names of a side: by position, where its names are others."""
    if side.graph is None or side.graph.inputs == stage.inputs:
        return sample
    if len(side.graph.inputs) != len(stage.inputs):
        raise OptionError(
            f"expected {len(stage.inputs)} inputs on both sides, found {len(side.graph.inputs)}",
            help="compare two stages of one network",
        )
    return dict(
        zip(side.graph.inputs, (sample[name] for name in stage.inputs), strict=True)
    )  # fmt: skip


def _count_ties(
    row: ValueComparison,
    reals: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    sides: Iterable[tuple[_Side, Standing, Mapping[str, Array]]],
) -> None:
    """Count the elements on different integers, and those that lay next to a tie before."""
    for side, held, results in sides:
        quantizer = side.quantizers.get(held.value)
        if quantizer is None or quantizer.config.policy.is_floating:
            continue
        config, scales = quantizer.config, quantizer.row
        left, right = (numerics.quantize(r.astype(np.float32), config, scales) for r in reals)
        steps = np.abs(left - right)
        axis, real = config.channel_axis, results[quantizer.real].astype(np.float64)
        exact = real / numerics.broadcast_channels(scales.scale_array, real.ndim, axis)
        distance = np.abs(exact - np.floor(exact) - 0.5)
        row.differing_steps = (row.differing_steps or 0) + int(np.count_nonzero(steps))
        row.ties += int(np.count_nonzero((steps == 1) & (distance <= TIE_DISTANCE)))
        return
