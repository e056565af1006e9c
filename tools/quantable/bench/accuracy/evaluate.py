"""Run float and quantized networks on the evaluation set.

ONNX files run in ONNX Runtime with graph optimizations off, NNCF's in OpenVINO on the CPU, integer
graphs in the integer reference, which generated C equals on every element.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.adapters.onnxruntime import OrtModel
from quantable.bench.accuracy.outcome import Array, Outcome, Reference, joined, outcome
from quantable.bench.datasets import Network
from quantable.driver import api, runtime
from quantable.ir import Graph, Operation, QuantableOperation, Relation
from quantable.targets.description import load_target

Run = Callable[[Array], list[Array]]
"""Returns the outputs of a batch."""
FLOAT_BITS = 32
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "quantable.Linear")


def reference(model: Path, item: Network, shared: Path) -> Reference:
    """Run a float ONNX file on the evaluation set."""
    run = in_onnxruntime(model)
    samples = item.samples(shared, "evaluation")
    batches = [run(batch) for batch in samples.batches(item.batch)]
    outputs = tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Reference(outputs, samples.labels)


def evaluate(run: Run, real: Reference, item: Network, shared: Path) -> Outcome:
    """Run a quantized network on the evaluation set."""
    parts: list[Outcome] = []
    start = 0
    for batch in item.samples(shared, "evaluation").batches(item.batch):
        found = run(batch)
        parts.append(outcome(real, found, is_classifier=item.is_classifier, start=start))
        start += len(batch)
    return joined(parts)


def runner(folder: Path) -> Run:
    """Return what runs the files that `quantable.bench.quantize_once` left in a folder."""
    if (folder / "quantized.onnx").is_file():
        return in_onnxruntime(folder / "quantized.onnx")
    if (folder / "quantized.xml").is_file():
        return in_openvino(folder / "quantized.xml")
    return in_target(api.load(folder / "quantized.qir"), folder / "emitted")


def in_onnxruntime(path: Path) -> Run:
    """Return what runs an ONNX file as it is written."""
    model = OrtModel(path)
    return lambda batch: list(model.run({model.inputs[0]: batch}).values())


def in_openvino(path: Path) -> Run:
    """Return what runs an OpenVINO file, floats in full precision (bfloat16 is its default)."""
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: [np.array(value) for value in model([batch]).to_tuple()]


def in_target(graph: Graph, folder: Path) -> Run:
    """Return what runs a refined graph as its target does."""
    if load_target(graph.target).backend == "onnx":
        api.emit(graph, folder)
        return in_onnxruntime(folder / "model.onnx")
    lowered = api.lower(graph)
    integers = runtime.reference(lowered)
    return lambda batch: list(integers.run({lowered.inputs[0]: batch}).values())


def average_bits(graph: Graph) -> tuple[float, float]:
    """Return the bits of weights and of activations of a quantable graph, on average.

    Both are those of convolutions and matrix products, by number of elements; what is not quantized
    counts 32 bits. Dimensions that are not fixed count 1.
    """
    weights: list[tuple[int, int]] = []
    activations: list[tuple[int, int]] = []
    for op in graph.operations:
        if op.kind not in _PRODUCTS:
            continue
        for slot, name in enumerate(op.inputs[:2]):
            shape = graph.shape(name) or ()
            elements = int(np.prod([size if isinstance(size, int) else 1 for size in shape]))
            found = weights if graph.is_parameter(name) else activations
            found.append((_bits(op, slot), elements))
    return _average(weights), _average(activations)


def _bits(op: Operation, slot: int) -> int:
    if not isinstance(op, QuantableOperation):
        return FLOAT_BITS
    config = op.config.inputs[slot]
    return config.bits if config.relation is not Relation.NONE else FLOAT_BITS


def _average(found: list[tuple[int, int]]) -> float:
    total = sum(elements for _, elements in found)
    return sum(bits * elements for bits, elements in found) / total if total else 0.0


def calibration(item: Network, shared: Path) -> npt.NDArray[np.float32]:
    """Return the calibration inputs, [samples, 1, ...]."""
    samples = item.samples(shared, "calibration")
    return np.stack([samples.load(index)[None] for index in range(samples.count)])
