"""Running passes so that a fault of ours leaves one file that shows it.

The file is the graph as it was before the pass, weights inside, with the pipeline, the target, the
profile, the inputs and the message in its metadata; ``quantable opt FILE --replay`` does it again.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from quantable.driver.files import save_arrays
from quantable.driver.pipelines import canonical, resolve
from quantable.ir import (
    Graph,
    InternalError,
    InvariantError,
    OptionError,
    Profile,
    UserError,
    graph_digest,
)
from quantable.passes.base import CHECKS, Pass, PassContext
from quantable.passes.base import run_passes as run_all
from quantable.passes.instruments.instrument import Instrument, Step
from quantable.schema import load_profile, save, save_profile

PREFIX = "reproduce."
Arrays = Mapping[str, npt.NDArray[np.generic]]


def run_passes(
    graph: Graph,
    passes: Iterable[Pass],
    context: PassContext,
    instruments: Sequence[Instrument] = CHECKS,
    folder: Path | None = None,
) -> Graph:
    """Run passes in order; a fault of ours writes a reproducer.

    Args:
        graph: Where to start.
        passes: What to run.
        context: What the passes are given.
        instruments: What watches the passes, see `quantable.driver.instruments.selection`.
        folder: Where a reproducer goes; the working directory by default.

    Raises:
        UserError: The input is at fault, or a pass does not take the graph's level.
        InternalError: A pass failed; names the reproducer and the command that replays it.
    """
    return run_all(graph, passes, context, (Reproducer(folder or Path()), *instruments))


class Reproducer(Instrument):
    """Writes a reproducer when a pass fails by our fault, and says how to replay it."""

    name: ClassVar[str] = "reproducer"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def failed(self, step: Step, error: Exception) -> None:
        """Raise an `InternalError` that names the file; leave the user's faults as they are."""
        if isinstance(error, UserError):
            return
        path = _write(step.graph, step.item, step.context, error, self._folder)
        raise _fault(step.item, error, path) from error


def _fault(item: Pass, error: Exception, path: Path) -> InternalError:
    kind = "" if isinstance(error, InvariantError) else f"{type(error).__name__}: "
    return InternalError(
        f"pass '{item.name}' failed: {kind}{getattr(error, 'message', error)}",
        where=getattr(error, "where", ""), help=f"replay it: quantable opt {path} --replay",
    )  # fmt: skip


@dataclass(frozen=True)
class Reproduction:
    """What a reproducer holds.

    Attributes:
        graph: Without the facts of the reproducer.
        pipeline: What to run.
        target: Name, '' for none.
        profile: Calibration statistics, if there are any.
        inputs: One array a graph input, if there are any.
    """

    graph: Graph
    pipeline: str
    target: str = ""
    profile: Profile | None = None
    inputs: Arrays | None = None

    @staticmethod
    def of(graph: Graph) -> Reproduction:
        """Read a reproducer.

        Raises:
            OptionError: The file is no reproducer.
        """
        held = {k[len(PREFIX) :]: v for k, v in graph.metadata.items() if k.startswith(PREFIX)}
        if "pipeline" not in held:
            raise OptionError("the file is no reproducer: it holds no pipeline")
        kept = {k: v for k, v in graph.metadata.items() if not k.startswith(PREFIX)}
        return Reproduction(
            replace(graph, metadata=kept), held["pipeline"], held.get("target", ""),
            _bytes(held["profile"], load_profile) if "profile" in held else None,
            held_inputs(graph),
        )  # fmt: skip


def replay(
    graph: Graph,
    context: PassContext,
    target: str | None = None,
    instruments: Sequence[Instrument] = CHECKS,
) -> Graph:
    """Run the pipeline that a reproducer holds.

    Args:
        graph: The reproducer's graph.
        context: What the passes are given; target and profile are taken from the file.
        target: The target's name or path, where the file's is not the one to take.
        instruments: What watches the passes.

    Raises:
        OptionError: The file is no reproducer.
        InternalError: The pass still fails.
    """
    from quantable.targets.description import load_target
    from quantable.targets.user_rules import with_user_rules

    found = Reproduction.of(graph)
    name = target or found.target
    target_found = load_target(name) if name else None
    context.target = target_found and with_user_rules(target_found, graph.library)
    context.profile = found.profile or context.profile
    return run_passes(found.graph, resolve(found.pipeline), context, instruments)


def _write(graph: Graph, item: Pass, context: PassContext, error: Exception, folder: Path) -> Path:
    facts = {"pass": item.name, "message": str(error)}
    path = folder / f"repro-{item.name}-{graph_digest(graph)[:12]}.qir"
    save(reproducer(graph, [item], context, facts), path, inline_limit=None)
    return path


def reproducer(
    graph: Graph,
    passes: Iterable[Pass],
    context: PassContext,
    facts: Mapping[str, str],
    inputs: Arrays | None = None,
) -> Graph:
    """Return the graph that holds all that is needed to run passes on it again.

    Save it with ``inline_limit=None``, so that the weights are in the file.

    Args:
        graph: What the passes are given.
        passes: What to run.
        context: Its target, by name, and its profile go into the file.
        facts: Further facts by name, for instance 'message'.
        inputs: One array a graph input, where the fault needs data to be seen.
    """
    held = {"pipeline": canonical(passes), **facts}
    if context.target is not None:
        held["target"] = context.target.name
    if context.profile is not None:
        profile = context.profile
        held["profile"] = _text(lambda path: save_profile(profile, path))
    facts_by_key = {f"{PREFIX}{name}": text for name, text in held.items()}
    found = replace(graph, metadata={**graph.metadata, **facts_by_key})
    return found if inputs is None else with_inputs(found, inputs)


def with_inputs(graph: Graph, inputs: Arrays) -> Graph:
    """Return a graph that holds one array a graph input."""
    text = _text(lambda path: save_arrays(inputs, path))
    return replace(graph, metadata={**graph.metadata, f"{PREFIX}inputs": text})


def held_inputs(graph: Graph) -> Arrays | None:
    """Return the inputs that a graph holds, if it holds any."""
    text = graph.metadata.get(f"{PREFIX}inputs")
    return None if text is None else _bytes(text, _arrays)


def _text(write: Callable[[Path], None]) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "data.npz"
        write(path)
        return base64.b64encode(path.read_bytes()).decode()


_Read = TypeVar("_Read")


def _bytes(text: str, read: Callable[[Path], _Read]) -> _Read:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "data.npz"
        path.write_bytes(base64.b64decode(text))
        return read(path)


def _arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as held:
        return dict(held)
