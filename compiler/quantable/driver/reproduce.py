"""Running passes so that a fault of ours leaves one file that shows it.

The file is the graph as it was before the pass, weights inside, with the pipeline, the target, the
profile and the message in its metadata; ``quantable opt FILE --replay`` does it again.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

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

    held = {k[len(PREFIX) :]: v for k, v in graph.metadata.items() if k.startswith(PREFIX)}
    if "pipeline" not in held:
        raise OptionError("the file is no reproducer: it holds no pipeline")
    kept = {k: v for k, v in graph.metadata.items() if not k.startswith(PREFIX)}
    name = target or held.get("target", "")
    context.target = load_target(name) if name else None
    if "profile" in held:
        context.profile = _profile(held["profile"])
    start = replace(graph, metadata=kept)
    return run_passes(start, resolve(held["pipeline"]), context, instruments)


def _write(graph: Graph, item: Pass, context: PassContext, error: Exception, folder: Path) -> Path:
    facts = {"pipeline": canonical([item]), "pass": item.name, "message": str(error)}
    if context.target is not None:
        facts["target"] = context.target.name
    if context.profile is not None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "profile"
            save_profile(context.profile, path)
            facts["profile"] = base64.b64encode(path.read_bytes()).decode()
    path = folder / f"repro-{item.name}-{graph_digest(graph)[:12]}.qir"
    metadata = {**graph.metadata, **{f"{PREFIX}{k}": v for k, v in facts.items()}}
    save(replace(graph, metadata=metadata), path, inline_limit=None)
    return path


def _profile(text: str) -> Profile:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "profile"
        path.write_bytes(base64.b64decode(text))
        return load_profile(path)
