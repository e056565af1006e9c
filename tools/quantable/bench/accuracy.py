"""Regenerate ``docs/accuracy.md``: ``python -m quantable.bench.accuracy``.

Every tool is given the same float network (a last Softmax cut off, so that logits are compared) and
the same inputs: calibration sets for calibration, evaluation sets for evaluation. Emitted ONNX
files run in ONNX Runtime with graph optimizations off, integer graphs in the reference runtime,
which generated C equals bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantable.adapters.onnxruntime import OrtModel
from quantable.bench import peers
from quantable.bench.accuracy_page import page
from quantable.bench.datasets import DEFAULT_SHARED, NETWORKS, Network, network
from quantable.bench.scores import Array, Score
from quantable.driver import api, runtime
from quantable.ir import Graph, Level

TARGETS = ("onnxruntime", "x86-vnni")
PEER = "ONNX Runtime"
Run = Callable[[Array], list[Array]]
"""Returns the outputs of a batch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 0 where every bar holds."""
    options = _parse(arguments)
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        for row in measure(network(name), options.shared, options.targets):
            rows.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    if options.output:
        options.output.write_text(page(rows), encoding="utf-8")
    return 0 if all(not row["misses"] for row in rows) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.accuracy",
        description="Measure the accuracy of quantized networks beside ONNX Runtime's quantizer.",
        epilog="Example: python -m quantable.bench.accuracy --networks resnet8 --output ''",
    )
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    parser.add_argument(
        "--output",
        type=lambda text: Path(text) if text else None,
        default=root / "docs" / "accuracy.md",
        help="the page to write; '' for none",
    )
    return parser.parse_args(arguments)


def measure(item: Network, shared: Path, targets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield one row a tool: ONNX Runtime's quantizer first, then each target."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = folder / "float.onnx"
        peers.cut_softmax(item.model(shared), model)
        calibration = item.samples(shared, "calibration")
        peers.quantize_with_onnxruntime(
            model, folder / "peer.onnx", calibration.batches(item.batch)
        )
        tools = {PEER: _in_onnxruntime(folder / "peer.onnx")}
        for target, graph in _quantized(model, item, shared, targets).items():
            tools[target] = _runner(graph, folder / target)
        scores = _scores(item, shared, _in_onnxruntime(model), tools)
    has_labels = calibration.labels is not None
    peer = scores[PEER]
    for tool, score in scores.items():
        if tool != "float":
            yield _row(item, tool, score, scores["float"], peer, has_labels=has_labels)


def _quantized(
    model: Path, item: Network, shared: Path, targets: Sequence[str]
) -> dict[str, Graph]:
    """Return the graph of each target, as default options make it, from one profile."""
    graph = api.canonicalize(api.import_model(model))
    samples = item.samples(shared, "calibration")
    profile = api.observe(graph, [samples.load(i)[None] for i in range(samples.count)])
    found = {}
    for target in targets:
        quantized = api.refine(api.calibrate(api.quantize(graph, target), profile))
        found[target] = quantized if target.startswith("onnx") else api.lower(quantized)
    return found


def _runner(graph: Graph, folder: Path) -> Run:
    if graph.level is Level.QUANTABLE:
        api.emit(graph, folder)
        return _in_onnxruntime(folder / "model.onnx")
    reference = runtime.reference(graph)
    return lambda batch: list(reference.run({graph.inputs[0]: batch}).values())


def _in_onnxruntime(path: Path) -> Run:
    model = OrtModel(path)
    return lambda batch: list(model.run({model.inputs[0]: batch}).values())


def _scores(item: Network, shared: Path, real: Run, tools: dict[str, Run]) -> dict[str, Score]:
    evaluation = item.samples(shared, "evaluation")
    scores = {name: Score() for name in ("float", *tools)}
    start = 0
    for batch in evaluation.batches(item.batch):
        labels = None
        if evaluation.labels is not None:
            labels = evaluation.labels[start : start + len(batch)]
        start += len(batch)
        expected = real(batch)
        scores["float"].add(expected, expected, labels)
        for name, run in tools.items():
            scores[name].add(expected, run(batch), labels)
    return scores


def _row(
    item: Network, tool: str, score: Score, real: Score, peer: Score, *, has_labels: bool
) -> dict[str, Any]:
    """Return what the page says about one tool and network."""
    row: dict[str, Any] = {"network": item.name, "tool": tool, "samples": score.count}
    row["sqnr_db"] = [round(value, 2) for value in score.sqnr]
    if item.is_classifier:
        row["agreement"] = round(score.agreement, 2)
    if has_labels:
        row["top_1_float"] = round(real.top_1, 2)
        row["top_1"] = round(score.top_1, 2)
    row["misses"] = [] if tool == PEER else _misses(item, score, real, peer, has_labels)
    return row


def _misses(item: Network, score: Score, real: Score, peer: Score, has_labels: bool) -> list[str]:
    """Return the bars that a target misses: as good as the peer, and close to float."""
    found = []
    if item.is_classifier and score.agreeing < peer.agreeing:
        found.append("agreement")
    if any(mine < other for mine, other in zip(score.sqnr, peer.sqnr, strict=True)):
        found.append("SQNR")
    allowed = 1.0 if score.count < 1000 or item.name == "cct_cifar" else 0.5
    # Within means both ways: a gain is as unfaithful as a loss.
    if has_labels and abs(real.top_1 - score.top_1) > allowed:
        found.append("top-1")
    return found


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main())
