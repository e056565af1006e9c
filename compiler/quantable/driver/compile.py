"""All stages in one go.

Every graph is made in memory by the functions that the single commands call, and files are written
when all of them are known: bad input leaves nothing behind, and a kill leaves old or new files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantable.driver import api
from quantable.driver.cache import Cache
from quantable.driver.calibration_warnings import calibration_warnings
from quantable.driver.data import Samples, Source
from quantable.driver.efforts import DEFAULT, pipelines_of
from quantable.driver.emission import require_folder, write_json, write_text
from quantable.driver.instruments.selection import Selection
from quantable.driver.pipelines import resolve
from quantable.driver.preprocessing import Preprocessing
from quantable.driver.quantized_models import (
    SKIPPED,
    for_integers,
    has_quantized_weights,
    is_quantized,
    is_waiting,
    quantize_pipeline,
    requantizing,
    with_kept_weights,
)
from quantable.driver.report import Facts, compile_facts, page
from quantable.driver.stages import STAGE, stages_for
from quantable.driver.staging import Staging
from quantable.driver.tuning_data import TuningData, open_tuning_data
from quantable.ir import Graph, OperationLibrary, OptionError, Profile, UnknownNameError
from quantable.targets.description import load_target

PIPELINE_STAGES = tuple(name for name, stage in STAGE.items() if stage.pipeline)
Announce = Callable[[str], None]
"""Called with the name of each stage before it runs."""
Warn = Callable[[api.Remarks], None]


@dataclass(frozen=True)
class Compilation:
    """What a compilation made.

    Attributes:
        graphs: (file name, graph) of every stage that leaves a graph, in order.
        profile: The calibration statistics; None for a model that is quantized already.
        manifest: What was emitted.
        facts: What the report says.
    """

    graphs: tuple[tuple[str, Graph], ...]
    profile: Profile | None
    manifest: Mapping[str, Any]
    facts: Facts


@dataclass(frozen=True)
class Calibration:
    """Where the statistics come from: a profile, or data to observe.

    Attributes:
        data: Calibration inputs, see `quantable.driver.data`.
        profile: A measured profile, instead of data.
        preprocessing, samples, threads: For the data.
        checkpoint: A folder for the steps of long passes, from which a stopped compilation goes on.
        progress: Told about every sample.
    """

    data: Source | Samples | None = None
    profile: Profile | None = None
    preprocessing: Preprocessing | None = None
    samples: int | None = None
    threads: int = 2
    checkpoint: Path | None = None
    progress: api.Progress | None = None

    def __post_init__(self) -> None:
        if (self.data is None) == (self.profile is None):
            raise self.missing()

    @staticmethod
    def missing() -> OptionError:
        """Return the error for a network that cannot be calibrated."""
        return OptionError(
            "expected calibration data or a profile, and not both",
            help="give --calibration DATA or --profile FILE",
        )

    def repeatable(self) -> Calibration:
        """Return the same with data that can be read more than once."""
        if isinstance(self.data, Iterator):
            return replace(self, data=list(self.data))
        return self

    def tuning_for(self, graph: Graph) -> TuningData | None:
        """Return the samples for passes that fit; None where there is only a profile."""
        if self.data is None:
            return None
        return open_tuning_data(
            graph, self.data, self.preprocessing, samples=self.samples, checkpoint=self.checkpoint
        )

    def profile_of(self, graph: Graph) -> Profile:
        """Return the statistics of a canonical float graph."""
        if self.profile is not None:
            return self.profile
        assert self.data is not None
        return api.observe(
            graph, self.data, self.preprocessing, samples=self.samples, threads=self.threads,
            progress=self.progress,
        )  # fmt: skip


def compile_model(
    model: str | Path | Graph,
    output: str | Path,
    *,
    target: str | Path,
    calibration: Calibration | None = None,
    requantize: bool = False,
    pipelines: Mapping[str, str] | None = None,
    effort: str = DEFAULT,
    announce: Announce | None = None,
    cache: Cache | None = None,
    notice: Announce | None = None,
    selection: Selection | None = None,
    warn: Warn | None = None,
    operations: OperationLibrary | None = None,
) -> Compilation:
    """Compile a network into a folder.

    Args:
        model: The ONNX file, a reference to a PyTorch module with its own example inputs, or an
            imported graph.
        output: The folder for stage files, code and report.
        target: Name or description file.
        calibration: Data or a profile. A model that is quantized already needs none: its scales and
            integers are kept. For a target of integers alone, what such a model leaves real is
            calibrated. One with integer weights and real activations keeps them without.
        requantize: Whether such a model is quantized anew, from the float network of its weights.
        pipelines: Other pipelines than those of the effort, by stage name.
        effort: 'fast', 'balanced' or 'best': see `quantable.driver.efforts`.
        announce: Told about every stage.
        cache: Where results of stages are taken from and kept; no byte depends on it.
        notice: Told whether each stage was cached, and why not.
        selection: What watches the passes; no byte depends on it.
        warn: Told what is doubtful about the calibration data (see `calibration_warnings`), if
            anything is, before it is used; the report has it, too.
        operations: The user operations at hand; by default those of installed packages.

    Raises:
        UserError: The input is at fault; nothing was written.
        InternalError: A stage failed; a reproducer was written.
    """
    found = {**pipelines_of(effort, load_target(target)), **(pipelines or {})}
    if requantize:
        first = found.get("canonicalize", STAGE["canonicalize"].pipeline)
        found["canonicalize"] = requantizing(first)
    chosen = _pipelines(found)
    calibration = None if calibration is None else calibration.repeatable()
    require_folder(Path(output))
    tell = announce or (lambda _: None)
    watch = selection or Selection(lambda _: None)
    staging = Staging(load_target(target), watch, cache, notice or (lambda _: None))
    staging.operations = operations
    tell("import")
    graph = model if isinstance(model, Graph) else staging.import_model(Path(model))
    if is_quantized(graph) and not requantize:
        chosen["calibrate"] = (pipelines or {}).get("calibrate", STAGE["calibrate"].pipeline)
        if staging.target.has_integer_level:
            chosen["canonicalize"] = for_integers(graph, chosen["canonicalize"])
        run = _kept(staging, chosen, calibration, graph, tell, warn)
    elif calibration is None and has_quantized_weights(graph) and not requantize:
        chosen["canonicalize"] = with_kept_weights(chosen["canonicalize"])
        run = _Run(staging, chosen, None, tell, warn)
    elif calibration is None:
        raise Calibration.missing()
    else:
        staging.tuning = calibration.tuning_for(graph)
        run = _Run(staging, chosen, calibration, tell, warn)
    run.stages(graph)
    tell("emit")
    manifest = staging.emit(run.graphs[-1][1], Path(output), target)
    staging.finish()
    with watch.measure("serialisation"):
        return _write(Path(output), run.graphs, run.profile, manifest, run.remarks)


def _kept(
    staging: Staging,
    chosen: Mapping[str, str],
    calibration: Calibration | None,
    graph: Graph,
    tell: Announce,
    warn: Warn | None,
) -> _Run:
    """Return the stages of a model that keeps its own quantization."""
    if calibration is None:
        return _Run(staging, chosen, None, tell, warn)
    if not staging.target.has_integer_level:
        return _Run(staging, chosen, None, tell, warn, _unused(warn))
    staging.tuning = calibration.tuning_for(graph)
    return _Run(staging, chosen, calibration, tell, warn, completes=True)


@dataclass
class _Run:
    """The stages between the import and the emission.

    Attributes:
        staging: Runs single stages.
        chosen: The pipeline of each.
        calibration: None for a model that is quantized already, in all of its tensors.
        tell, warn: See `compile_model`.
        completes: Whether the model is quantized already, and what it leaves real is calibrated.
        remarks: What the passes said.
        graphs: (file name, graph) of every stage that leaves a graph.
        profile: The statistics that were made.
    """

    staging: Staging
    chosen: Mapping[str, str]
    calibration: Calibration | None
    tell: Announce
    warn: Warn | None
    remarks: api.Remarks = field(default_factory=list)
    graphs: list[tuple[str, Graph]] = field(default_factory=list)
    profile: Profile | None = None
    completes: bool = False
    early: tuple[Graph, api.Remarks] | None = None

    def stages(self, graph: Graph) -> None:
        """Run every stage that the target, and the model, need."""
        self.graphs.append((STAGE["import"].file, graph))
        for stage in stages_for(self.staging.target.backend):
            skipped = ("import", "emit", *(SKIPPED if self.calibration is None else ()))
            if stage.name in skipped:
                continue
            self.tell(stage.name)
            if stage.name == "observe":
                self._observe(graph)
                continue
            graph, said = self._stage(stage.name, graph)
            self.remarks += said
            self.graphs.append((stage.file, graph))

    def _observe(self, graph: Graph) -> None:
        """Refused early: what the target cannot do is said before any calibration."""
        assert self.calibration is not None, "the stage is skipped without"
        pipeline = self.chosen["quantize"]
        if self.completes:
            pipeline = quantize_pipeline(graph, pipeline, complete=True)
        self.early = self.staging.run("quantize", pipeline, graph)
        if self.completes and not is_waiting(self.early[0]):
            self.calibration, self.remarks = None, self.remarks + _unused(self.warn)
            return
        self.profile = self.staging.observe(self.calibration, graph)
        self.remarks += _warned(graph, self.profile, self.warn)

    def _stage(self, name: str, graph: Graph) -> tuple[Graph, api.Remarks]:
        if name != "quantize":
            return self.staging.run(name, self.chosen[name], graph, self.profile)
        if self.early is not None:
            return self.early
        return self.staging.run(name, quantize_pipeline(graph, self.chosen[name]), graph)


def _unused(warn: Warn | None) -> api.Remarks:
    """Say that a model keeps its own scales although there is something to choose others by."""
    text = "the model is quantized already: its scales are kept, calibration is not used"
    found = [("compile", "calibration", f"{text}; --requantize gives them up")]
    if warn is not None:
        warn(found)
    return found


def _warned(graph: Graph, profile: Profile, warn: Warn | None) -> api.Remarks:
    found = calibration_warnings(graph, profile)
    if found and warn is not None:
        warn(found)
    return found


def _pipelines(given: Mapping[str, str]) -> dict[str, str]:
    for name in given:
        if name not in PIPELINE_STAGES:
            raise UnknownNameError("stage with a pipeline", name, PIPELINE_STAGES)
        for item in resolve(given[name]):
            item.check()  # refused before any work
    return {name: given.get(name, STAGE[name].pipeline) for name in PIPELINE_STAGES}


def _write(
    folder: Path,
    graphs: list[tuple[str, Graph]],
    profile: Profile | None,
    manifest: Mapping[str, Any],
    remarks: api.Remarks,
) -> Compilation:
    for name, graph in graphs:
        api.save(graph, folder / name)
    if profile is not None:
        api.save_profile(profile, folder / STAGE["observe"].file)
    facts = compile_facts(graphs, profile, manifest, remarks)
    write_text(page(facts), folder / "report.md")
    write_json(facts, folder / "report.json")
    return Compilation(tuple(graphs), profile, manifest, facts)
