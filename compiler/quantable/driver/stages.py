"""The stages of a compilation: one table, read by compile, the command line and the README."""

from __future__ import annotations

from dataclasses import dataclass

from quantable.ir import Level


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table.

    Attributes:
        name: Name of the stage.
        command: The `quantable` command line that does it alone.
        file: What `compile` calls its result; '' for the emitted files.
        pipeline: The passes that it runs by default; '' where it is no pipeline.
        level: Level of the graph it leaves; None where it leaves none.
        backends: The kinds of backend that need it; empty for all.
        holds: What holds after it.
    """

    name: str
    command: str
    file: str
    pipeline: str
    level: Level | None
    backends: tuple[str, ...]
    holds: str

    def is_for(self, backend: str) -> bool:
        """Whether a target with this backend needs the stage."""
        return not self.backends or backend in self.backends


STAGES: tuple[Stage, ...] = (
    Stage(
        "import", "import", "00-import.qir", "", Level.FLOAT, (),
        "every operation is ONNX's, at one opset, and names the nodes it came from",
    ),
    Stage(
        "canonicalize", "opt --passes canonicalize", "01-opt.qir", "canonicalize",
        Level.FLOAT, (),
        "constants, shapes, BatchNorm and biases are folded, dead channels removed; same function",
    ),
    Stage(
        "observe", "observe", "calibration.qprof", "", None, (),
        "exactly mergeable statistics of every activation, for any target",
    ),
    Stage(
        "quantize", "quantize", "02-quantize.qir", "quantize", Level.QUANTABLE, (),
        "every operation has its platform, every quantable one its config",
    ),
    Stage(
        "calibrate", "calibrate", "03-calibrate.qir", "calibrate,correct-bias", Level.QUANTABLE, (),
        "every row that is observed has a scale; no data is needed any more",
    ),
    Stage(
        "refine", "opt --passes refine", "04-opt.qir", "refine", Level.QUANTABLE, (),
        "joined tensors share a row, biases are derived, parameters are stored as integers",
    ),
    Stage(
        "lower", "lower", "05-lower.qir", "lower", Level.INTEGER, ("c",),
        "only explicit integer operations; this is the definition of the result",
    ),
    Stage(
        "plan", "opt --passes plan", "06-plan.qir", "plan", Level.PLANNED, ("c",),
        "layout is fixed and every activation has its place in one arena; same integers",
    ),
    Stage(
        "emit", "emit", "", "", None, (),
        "target code that gives the integers of the last stage, with a manifest",
    ),
)  # fmt: skip
"""Every stage, in order."""

STAGE: dict[str, Stage] = {stage.name: stage for stage in STAGES}
"""Every stage by name."""


def stages_for(backend: str) -> tuple[Stage, ...]:
    """Return the stages that a target with this backend needs, in order."""
    return tuple(stage for stage in STAGES if stage.is_for(backend))
