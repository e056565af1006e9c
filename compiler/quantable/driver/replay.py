"""Redo what a file's history says, and compare every digest on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from quantable.driver import api
from quantable.driver.context import context_for
from quantable.driver.pipelines import resolve
from quantable.driver.pytorch import Export, import_pytorch, is_reference
from quantable.driver.tuning_data import TuningData
from quantable.ir import (
    Decision,
    Graph,
    OperationLibrary,
    OptionError,
    Profile,
    StageRecord,
    UserError,
    graph_digest,
)
from quantable.ir.operation_library import require_recorded
from quantable.passes.base import PassContext, run_pass
from quantable.targets.description import Target, load_target

IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Redone:
    """One record of the history, and what came out when it was redone.

    Attributes:
        stage: Name and options.
        expected, found: Digests of the graph: the record's, and that of what was made.
        fault: What differs besides the result, in words; '' for nothing.
    """

    stage: str
    expected: str
    found: str
    fault: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether the stage read, decided and made exactly what the record says."""
        return self.expected == self.found and not self.fault


def replay_history(
    graph: Graph,
    *,
    model: str | Path | None = None,
    start: Graph | None = None,
    profile: Profile | None = None,
    target: str | Path | None = None,
    tuning: TuningData | None = None,
) -> list[Redone]:
    """Redo the history of a graph, up to the first stage that differs.

    Args:
        graph: What a file holds.
        model: The ONNX file, or the reference to a PyTorch module, to begin with.
        start: An earlier stage to begin with, instead of the model.
        profile: Statistics, where a pass of the history read some.
        target: Description file, where the graph's target is none of the shipped ones.
        tuning: Calibration samples, where a pass of the history fitted to them.

    Returns:
        What was redone, in order; all were equal but perhaps the last. The last one, 'this file',
        says whether the graph itself is what its last record names.

    Raises:
        OptionError: There is no history, no place to begin, or `start` is no earlier stage.
        UserError: A stage cannot be redone: its pass is gone, or the model cannot be read.
    """
    if not graph.history:
        raise OptionError("the file has no history: there is nothing to redo")
    require_recorded(graph)
    done: list[Redone] = []
    if start is not None:
        current = replace(_begun(graph, start), library=graph.library)
        records = graph.history[len(start.history) :]
    else:
        current = _imported(graph.history[0], model, graph.library, done)
        records = graph.history[1:]
    context = context_for(current, _target(graph, target), profile)
    if tuning is not None:
        tuning.equip(context, current)
    for record in records:
        if done and not done[-1].is_equal:
            return done
        current, result = _redone(current, record, context)
        done.append(result)
    if not done or done[-1].is_equal:
        last = graph.history[-1].output_digest
        done.append(Redone("this file", last, graph_digest(graph)))
    return done


def _target(graph: Graph, target: str | Path | None) -> Target | None:
    name = target or graph.target
    return load_target(name) if name else None


def _begun(graph: Graph, start: Graph) -> Graph:
    count = len(start.history)
    if graph.history[:count] != start.history or not count:
        raise OptionError(
            "the file to begin with is no earlier stage: its history is not how this one begins",
            help="give a stage file of the same compilation, or the model with --model",
        )
    if graph_digest(start) != start.history[-1].output_digest:
        raise OptionError("the file to begin with is not what its own history says")
    return start


def _imported(
    record: StageRecord,
    model: str | Path | None,
    library: OperationLibrary,
    done: list[Redone],
) -> Graph:
    if record.name != IMPORT:
        raise OptionError(
            f"the history does not begin with an import but with '{record.name}'",
            help="give the file that it began with: --from FILE.qir",
        )
    if model is None:
        raise OptionError(
            "where to begin was not said",
            help="give the ONNX model with --model, or an earlier stage file with --from",
        )
    if is_reference(model):
        graph = import_pytorch(model, Export.from_record(record), library)
    else:
        graph = api.import_model(model, library)
    done.append(_compared(record, graph.history[0]))
    return graph


def _redone(graph: Graph, record: StageRecord, context: PassContext) -> tuple[Graph, Redone]:
    try:
        (item,) = resolve(f"{record.name}{record.options}")
    except (UserError, ValueError) as error:
        raise UserError(
            f"stage '{record.name}{record.options}' cannot be redone: {error}",
            help=f"the file was written by quantable {record.tool_version}",
        ) from error
    needs = record.data_digest and not item.data_digest(context)
    if needs and context.profile is None:
        raise OptionError(
            f"stage '{record.name}' read statistics", help="give them with --profile FILE.qprof"
        )
    made = run_pass(graph, item, context)
    return made, _compared(record, made.history[-1])


def _compared(record: StageRecord, found: StageRecord) -> Redone:
    # Which version of the program made it is not part of what it made.
    expected = replace(record, tool_version=found.tool_version)
    faults = [
        f"{what}: expected {_short(old)}, found {_short(new)}"
        for what, old, new in (
            ("pass version", str(expected.version), str(found.version)),
            ("graph that it read", expected.input_digest, found.input_digest),
            ("data that it read", expected.data_digest, found.data_digest),
        )
        if old != new
    ]
    faults += _decision_faults(expected.decisions, found.decisions)
    stage = f"{record.name}{record.options}"
    return Redone(stage, record.output_digest, found.output_digest, "; ".join(faults))


def _decision_faults(expected: tuple[Decision, ...], found: tuple[Decision, ...]) -> Iterator[str]:
    """Yield the first decision that differs, and by how many there are more or less."""
    if len(expected) != len(found):
        yield f"decisions: expected {len(expected)}, found {len(found)}"
    pairs = enumerate(zip(expected, found, strict=False), start=1)
    for place, (old, new) in pairs:
        if old != new:
            yield f"decision {place}: expected '{old.summary}', found '{new.summary}'"
            return


def _short(text: str) -> str:
    return text[:12] or "nothing"
