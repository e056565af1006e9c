"""The public Python API: everything that the command line does, on values instead of files.

    from quantable.driver import api

    graph = api.canonicalize(api.import_model("resnet20.onnx"))
    profile = api.observe(graph, "images.npz", api.Preprocessing(scale=1 / 255))
    quantized = api.refine(api.calibrate(api.quantize(graph, "x86-vnni"), profile))
    api.emit(api.plan(api.lower(quantized)), "build")

Each function is one stage of `quantable.driver.stages`; `compile_model` runs them all, and the
command line calls nothing else, so that all three give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from quantable.driver import runtime
from quantable.driver.calibration_warnings import calibration_warnings
from quantable.driver.context import context_for
from quantable.driver.data import Array, Sample, Samples, Source, open_samples
from quantable.driver.efforts import pipelines_of
from quantable.driver.files import load_graph as load
from quantable.driver.files import save_arrays
from quantable.driver.importing import import_model, import_module
from quantable.driver.pipelines import resolve, split_assignments, with_dispatch
from quantable.driver.preprocessing import Preprocessing
from quantable.driver.quantized_models import for_integers, is_quantized, quantize_pipeline
from quantable.driver.reproduce import replay as replay_passes
from quantable.driver.reproduce import run_passes
from quantable.driver.stages import STAGE
from quantable.driver.tuning_data import TuningData, open_tuning_data
from quantable.ir import DataError, Graph, Level, OptionError, Profile
from quantable.ir.operation_library import require_recorded
from quantable.passes.base import CHECKS
from quantable.passes.instruments.instrument import Instrument
from quantable.schema import load_profile, save, save_profile
from quantable.targets.description import Target, load_target

__all__ = [
    "Preprocessing", "Samples", "calibrate", "canonicalize", "emit", "import_model",
    "import_module", "load", "load_profile", "lower", "merge_profiles", "observe", "open_samples",
    "open_tuning_data", "optimize", "plan", "profile_facts", "quantize", "quantize_network",
    "refine", "replay", "run", "save", "save_arrays", "save_profile", "top_1",
]  # fmt: skip

Progress = Callable[[int, int], None]
"""Called with the number of samples that are done, and of all."""
Remarks = list[tuple[str, str, str]]
"""(pass, place, what was done or declined and why)."""


def optimize(
    graph: Graph,
    passes: str,
    *,
    target: str | Path | None = None,
    profile: Profile | None = None,
    tuning: TuningData | None = None,
    remarks: Remarks | None = None,
    instruments: Sequence[Instrument] = CHECKS,
) -> Graph:
    """Run a pipeline on a graph.

    Args:
        graph: A graph of any level.
        passes: The pipeline, see `quantable.text.pipeline`.
        target: Name or description file; by default the one that the graph names.
        profile: Calibration statistics, where a pass asks for them.
        tuning: Calibration samples, where a pass asks for them: see `open_tuning_data`.
        remarks: What the passes say is appended here.
        instruments: What watches the passes, see `quantable.driver.instruments.selection`.

    Raises:
        OptionError, UnknownNameError: The pipeline cannot be resolved.
        InternalError: A pass failed; a reproducer was written.
    """
    items = resolve(passes)
    context = context_for(graph, _target_of(graph, target), profile, remarks)
    if tuning is not None:
        tuning.equip(context, graph)
    return run_passes(graph, items, context, instruments)


def replay(
    graph: Graph, *, target: str | None = None, instruments: Sequence[Instrument] = CHECKS
) -> Graph:
    """Run what a reproducer holds again; see `quantable.driver.reproduce`."""
    return replay_passes(graph, context_for(graph), target, instruments)


def canonicalize(
    graph: Graph,
    *,
    passes: str = STAGE["canonicalize"].pipeline,
    target: str | Path | None = None,
    tuning: TuningData | None = None,
    remarks: Remarks | None = None,
) -> Graph:
    """Fold and normalize a float graph: stage `canonicalize`.

    Target and samples are for passes that judge what they do by quantizing.
    """
    return optimize(graph, passes, target=target, tuning=tuning, remarks=remarks)


def observe(
    graph: Graph,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    shard: str = "",
    threads: int = 2,
    elements: int | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Measure a float graph on calibration data: stage `observe`.

    Args:
        graph: A float graph, as the canonical form that will be quantized.
        data, preprocessing, samples, shard: See `open_samples`.
        threads: Samples that are run at the same time; no bit depends on it.
        elements: Most elements of a value that one sample counts into its histogram, evenly
            spread; 0 counts all; by default the runtime's choice. Extrema are always exact.
        progress: Told about every sample.

    Raises:
        DataError: The data cannot be used.
        OptionError: The graph is not a float graph, or an option is out of range.
    """
    if graph.level is not Level.FLOAT:
        raise OptionError(
            f"only a float graph can be observed, this one's level is {graph.level.value}",
            help="observe the result of: quantable opt --passes canonicalize",
        )
    if threads < 1:
        raise OptionError(f"threads: expected at least 1, found {threads}")
    found = _opened(data, graph, preprocessing, samples, shard)
    total = len(found)

    def count(done: int) -> None:
        if progress is not None:
            progress(done, total)

    chosen = {} if elements is None else {"elements": elements}
    return runtime.observer()(graph, found, threads=threads, progress=count, **chosen)


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all samples; the same bytes in any order.

    Raises:
        DataError: There are none, or they were measured on different graphs.
    """
    found = list(profiles)
    if not found:
        raise DataError("there are no profiles to merge")
    return reduce(Profile.merged, found)


def quantize(
    graph: Graph,
    target: str | Path,
    *,
    passes: str = "",
    complete: bool = False,
    remarks: Remarks | None = None,
    instruments: Sequence[Instrument] = CHECKS,
) -> Graph:
    """Give every operation its platform and its config: stage `quantize`.

    By default a network whose model has quantizers keeps them: see `adopt-quantizers`.

    Args:
        graph: A float graph.
        target: Name or description file.
        passes: The pipeline; '' for the one that fits the graph.
        complete: Whether tensors that such a model leaves real get rows to calibrate, where the
            target has integers alone: see `complete-quantizers`.
        remarks: What the passes say is appended here.
        instruments: What watches the passes.

    Raises:
        UnsupportedError: The target cannot do some operations; all are listed.
        UnknownNameError: No target has the name.
    """
    return optimize(
        graph, quantize_pipeline(graph, passes, complete=complete), target=target,
        remarks=remarks, instruments=instruments,
    )  # fmt: skip


def calibrate(
    graph: Graph,
    profile: Profile,
    *,
    passes: str = STAGE["calibrate"].pipeline,
    target: str | Path | None = None,
    tuning: TuningData | None = None,
    remarks: Remarks | None = None,
) -> Graph:
    """Fill the observed rows from a profile, and fit to samples: stage `calibrate`.

    Raises:
        DataError: The profile is of another graph, or a pass needs samples and there are none.
    """
    return optimize(graph, passes, target=target, profile=profile, tuning=tuning, remarks=remarks)


def quantize_network(
    model: str | Path | Graph,
    data: Source | Samples,
    target: str | Path,
    *,
    effort: str = "fast",
    preprocessing: Preprocessing | None = None,
    samples: int | None = None,
    checkpoint: str | Path | None = None,
    assign: Sequence[str] = (),
    remarks: Remarks | None = None,
) -> Graph:
    """Quantize a network in one call: the stages from `import` to `refine`.

    Args:
        model: An ONNX file, or a float graph.
        data, preprocessing, samples: Calibration inputs, see `open_samples`.
        target: Name or description file.
        effort: 'fast', 'balanced' or 'best': see `quantable.driver.efforts`.
        checkpoint: A folder from which a stopped call goes on.
        assign: Platforms and schemes, as `quantable quantize --assign` takes them.
        remarks: What the passes say is appended here.

    Returns:
        A quantable graph with its integers stored.
    """
    graph = model if isinstance(model, Graph) else import_model(model)
    found = {**_default_pipelines(), **pipelines_of(effort, load_target(target))}
    if isinstance(data, Iterator):
        data = list(data)  # it is read more than once
    tuning = open_tuning_data(graph, data, preprocessing, samples=samples, checkpoint=checkpoint)
    completes = load_target(target).has_integer_level and is_quantized(graph)
    steps = for_integers(graph, found["canonicalize"]) if completes else found["canonicalize"]
    graph = canonicalize(graph, passes=steps, target=target, tuning=tuning, remarks=remarks)
    profile = observe(graph, data, preprocessing, samples=samples)
    if remarks is not None:
        remarks += calibration_warnings(graph, profile)
    table, schemes = split_assignments(assign, load_target(target))
    passes = with_dispatch(found["quantize"], table=table, schemes=schemes)
    graph = quantize(graph, target, passes=passes, complete=completes, remarks=remarks)
    passes = STAGE["calibrate"].pipeline if completes else found["calibrate"]
    graph = calibrate(graph, profile, passes=passes, target=target, tuning=tuning, remarks=remarks)
    return refine(graph, target=target, remarks=remarks)


def _default_pipelines() -> dict[str, str]:
    return {name: stage.pipeline for name, stage in STAGE.items() if stage.pipeline}


def refine(
    graph: Graph, *, target: str | Path | None = None, remarks: Remarks | None = None
) -> Graph:
    """Align, derive biases and store parameters as integers: stage `refine`."""
    return optimize(graph, STAGE["refine"].pipeline, target=target, remarks=remarks)


def lower(
    graph: Graph,
    *,
    passes: str = STAGE["lower"].pipeline,
    target: str | Path | None = None,
    remarks: Remarks | None = None,
) -> Graph:
    """Make the integer arithmetic explicit: stage `lower`."""
    return optimize(graph, passes, target=target, remarks=remarks)


def plan(graph: Graph, *, target: str | Path | None = None) -> Graph:
    """Fix layout and memory: stage `plan`."""
    return optimize(graph, STAGE["plan"].pipeline, target=target)


def emit(
    graph: Graph, directory: str | Path, *, target: str | Path | None = None
) -> Mapping[str, object]:
    """Write target code: stage `emit`. An integer graph is planned first.

    Returns:
        The manifest, as it stands in ``manifest.json``.
    """
    from quantable.driver.emission import emit_files

    require_recorded(graph)
    found = _target_of(graph, target)
    if found is None:
        raise OptionError(
            "the graph has no target", help="quantize it first: quantable quantize --target"
        )
    if found.backend == "c" and graph.level is Level.INTEGER:
        graph = plan(graph, target=target)
    return emit_files(graph, Path(directory), found)


def run(
    graph: Graph,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    outputs: Iterable[str] | None = None,
    samples: int | None = None,
    threads: int = 2,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Run a graph of any level in the reference runtime, each sample by itself.

    Args:
        graph: The graph.
        data, preprocessing, samples: See `open_samples`.
        outputs: Names of values; by default the graph's outputs.
        threads: Samples that are run at the same time; no bit depends on it.
        progress: Told how many samples are done.

    Returns:
        By output name, all samples' results along the first axis.
    """
    found = _opened(data, graph, preprocessing, samples, "")
    wanted = None if outputs is None else tuple(outputs)
    unknown = [name for name in wanted or () if name not in graph.values]
    if unknown:
        raise OptionError(f"the graph has no value {', '.join(unknown)}")
    reference = runtime.reference(graph, threads)
    results: list[Sample] = []
    for done, result in enumerate(reference.run_each(found, wanted), 1):
        results.append(result)
        if progress is not None:
            progress(done, len(found))
    return {
        name: np.concatenate([np.atleast_1d(result[name]) for result in results])
        for name in results[0]
    }


def top_1(scores: Array, labels: Array) -> float:
    """Return the part of samples whose largest score is at the label, rounded to 4 places.

    Args:
        scores: [samples, classes].
        labels: [samples].
    """
    hits = scores.reshape(len(scores), -1).argmax(axis=1) == labels
    return round(float(hits.mean()), 4)


def profile_facts(profile: Profile) -> dict[str, object]:
    """Return what there is to say about statistics."""
    return {
        "graph_digest": profile.graph_digest,
        "samples": profile.sample_count,
        "values": len(profile.statistics),
    }


def _opened(
    data: Source | Samples,
    graph: Graph,
    preprocessing: Preprocessing | None,
    samples: int | None,
    shard: str,
) -> Samples:
    if isinstance(data, Samples):
        return data
    return open_samples(data, graph, preprocessing, samples=samples, shard=shard)


def _target_of(graph: Graph, target: str | Path | None) -> Target | None:
    if target is None:
        return load_target(graph.target) if graph.target else None
    found = load_target(target)
    if graph.target and graph.target != found.name:
        raise OptionError(
            f"the graph is quantized: expected target '{graph.target}', found '{found.name}'",
            help="quantize the float graph again for another target; the profile serves for both",
        )
    return found
