"""Measure searches over bit widths: ``python -m quantable.bench.mixed_precision``.

It prints the table of ``docs/mixed-precision.md``. Nothing but calibration samples decides; top-1
and agreement are those of the emitted file in ONNX Runtime on the evaluation sets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from quantable.bench import peers
from quantable.bench.accuracy import evaluate
from quantable.bench.accuracy.outcome import Flags, Outcome, percent
from quantable.bench.datasets import DEFAULT_SHARED, Network, network
from quantable.driver import api
from quantable.driver.checkpoints import FolderCheckpoint
from quantable.driver.data import Array
from quantable.driver.mixed_precision.budgets import Budget
from quantable.driver.mixed_precision.search import EFFORT, Search
from quantable.driver.tuning_data import open_tuning_data
from quantable.ir import Graph
from quantable.targets.description import load_target

SAMPLES = 128
WIDTHS = (4, 8)
SEARCHES = (("onnxruntime-w4a8", "weight-bits=5"), ("onnxruntime-w4a4", "average-bits=5"))
COLUMNS = (
    "network", "target", "budget", "bits", "predicted", "measured", "float top-1", "top-1",
    "agreement", "search s",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A network without its last Softmax, with what searches are given.

    Attributes:
        item: Which.
        model: Its file.
        graph: It, in canonical form.
        samples: Calibration samples.
        shared, scratch: Folders of models and data, and for steps of searches.
    """

    item: Network
    model: Path
    graph: Graph
    samples: Sequence[Array]
    shared: Path
    scratch: Path

    @staticmethod
    def of(name: str, shared: Path, scratch: Path) -> Subject:
        """Return a shared network."""
        item = network(name)
        model = scratch / f"{name}.onnx"
        peers.cut_softmax(item.model(shared), model)
        images = item.samples(shared, "calibration")
        samples = [images.load(index)[None] for index in range(min(SAMPLES, images.count))]
        graph = api.canonicalize(api.import_model(model))
        return Subject(item, model, graph, samples, shared, scratch)

    def outcome(self, graph: Graph) -> Outcome:
        """Return what a refined graph does on the evaluation set."""
        real = evaluate.reference(self.model, self.item, self.shared)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            run = evaluate.in_target(graph, Path(folder))
            return evaluate.evaluate(run, real, self.item, self.shared)


def rows(about: Subject) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a network: of each search, and of what its target gives by itself."""
    profile = api.observe(about.graph, about.samples)
    float_top_1 = _share(evaluate.reference(about.model, about.item, about.shared).right)
    for target, budget in SEARCHES:
        start = process_time()
        search = Search(
            about.graph, target, profile, open_tuning_data(about.graph, about.samples).laboratory,
            FolderCheckpoint(about.scratch / "steps"), widths=WIDTHS,
        )  # fmt: skip
        found = search.best(Budget.parse(budget))
        seconds = process_time() - start
        given = search.measured((0,) * len(search.items))
        for name, assignment, entries, time in (
            ("none", given, [], ""), (budget, found.best, found.entries, f"{seconds:.0f}"),
        ):  # fmt: skip
            graph = api.quantize_network(
                about.model, about.samples, load_target(target).name, effort=EFFORT, assign=entries
            )
            outcome = about.outcome(graph)
            bits = " / ".join(f"{value:.2f}" for value in evaluate.average_bits(graph))
            yield (
                about.item.name, target, name, bits, f"{assignment.predicted:.4f}",
                f"{assignment.measured:.4f}", float_top_1, _share(outcome.right),
                _share(outcome.agreeing), time,
            )  # fmt: skip


def _share(flags: Flags | None) -> str:
    assert flags is not None  # classifiers with labels alone are measured
    return f"{percent(flags):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m quantable.bench.mixed_precision")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED)
    parser.add_argument("networks", nargs="*", default=["resnet20", "mobilenetv2_keras"])
    given = parser.parse_args(arguments)
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.networks:
            lines += rows(Subject.of(name, given.shared, Path(scratch)))
    sys.stdout.writelines(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
