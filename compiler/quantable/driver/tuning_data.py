"""Samples for passes that fit, and what else such passes are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from quantable.driver import runtime
from quantable.driver.checkpoints import FolderCheckpoint
from quantable.driver.data import Samples, Source, open_samples
from quantable.driver.judging import QuantizedNoise
from quantable.driver.preprocessing import Preprocessing
from quantable.ir import Graph, Level
from quantable.passes.base import PassContext
from quantable.passes.laboratory import Checkpoint, Laboratory
from quantable.targets.description import Target


class LazyLaboratory:
    """A laboratory that reads its samples, and starts the runtime, when a pass asks for it."""

    def __init__(self, make: Callable[[], Laboratory]) -> None:
        self._make = make
        self._made: Laboratory | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


class _LazyJudge:
    """A judge that looks at the samples when it is asked for the first time."""

    def __init__(self, graph: Graph, target: Target, laboratory: Laboratory) -> None:
        self._given = (graph, target, laboratory)
        self._judge: QuantizedNoise | None = None

    def __call__(self, graph: Graph) -> float:
        return self._made()(graph)

    def parts(self, graph: Graph) -> Sequence[float]:
        """Return the error of every sample; see `DiscerningJudge`."""
        return self._made().parts(graph)

    def _made(self) -> QuantizedNoise:
        if self._judge is None:
            self._judge = QuantizedNoise(*self._given)
        return self._judge


@dataclass(frozen=True)
class TuningData:
    """What passes that fit are given besides the profile.

    Attributes:
        laboratory: Runs graphs on the calibration samples.
        checkpoint: Where long passes keep what is done; None for nowhere.
    """

    laboratory: Laboratory
    checkpoint: Checkpoint | None = None

    def equip(self, context: PassContext, graph: Graph) -> None:
        """Hand laboratory, checkpoint, and a judge of float graphs to a context.

        Args:
            context: Its target, if there is one, is what the judge quantizes for.
            graph: What the passes begin with; its outputs are right.
        """
        context.laboratory, context.checkpoint = self.laboratory, self.checkpoint
        if context.target is not None and graph.level is Level.FLOAT:
            context.judge = _LazyJudge(graph, context.target, self.laboratory)


def open_tuning_data(
    graph: Graph,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    checkpoint: str | Path | None = None,
) -> TuningData:
    """Return calibration samples for passes that fit; nothing is read before one asks.

    Args:
        graph: Its inputs say what samples look like.
        data, preprocessing, samples: See `open_samples`.
        checkpoint: A folder for the steps of long passes; a stopped pass goes on from there.
    """

    def make() -> Laboratory:
        if isinstance(data, Samples):
            return runtime.laboratory()(data)
        return runtime.laboratory()(open_samples(data, graph, preprocessing, samples=samples))

    kept = FolderCheckpoint(Path(checkpoint)) if checkpoint is not None else None
    return TuningData(cast("Laboratory", LazyLaboratory(make)), kept)
