"""What becomes of one network: float, quantized for ONNX Runtime, as C."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.registry import backend
from quantable.bench.families.family import Family, Inputs, draw
from quantable.bench.families.peer import quantize_static
from quantable.driver import api, runtime
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.validate import Claim, validate
from quantable.ir import Graph, QuantableOperation, UnsupportedError

Outputs = Mapping[str, npt.NDArray[np.generic]]
CALIBRATION, EVALUATION = 16, 8
C_TARGETS = ("c-portable", "x86-vnni")


@dataclass(frozen=True)
class Agreement:
    """Simulation and ONNX Runtime on the emitted file: elements that differ, and whether float32
    rounding explains each."""

    differing: int
    elements: int
    is_explained: bool


@dataclass(frozen=True)
class Code:
    """A network as C.

    Attributes:
        db: Signal to noise of the integers, worst output.
        claims: Of `validate`.
        refused: The error, where the target cannot run it.
    """

    db: float
    claims: tuple[Claim, ...]
    refused: str = ""


def float_error(family: Family, model: Path, graph: Graph) -> float:
    """Return the largest difference from ONNX Runtime, relative to the largest element."""
    samples = draw(family.sample, EVALUATION, seed=2)
    theirs, ours = OrtModel(model), runtime.reference(graph)
    return max(_error(ours.run(s), theirs.run(s)) for s in samples)


def _error(ours: Outputs, theirs: Outputs) -> float:
    worst = 0.0
    for name, expected in theirs.items():
        found = ours[name]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            return float("inf")
        if expected.size:
            distance = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
            worst = max(worst, float(distance / max(np.abs(expected).max(), 1e-30)))
    return worst


def quantized(family: Family, graph: Graph) -> Graph:
    """Quantize a canonical graph for ONNX Runtime."""
    profile = api.observe(graph, draw(family.sample, CALIBRATION, seed=1))
    return api.refine(api.calibrate(api.quantize(graph, "onnxruntime"), profile))


def float_kinds(graph: Graph) -> Counter[str]:
    """Count the operations that make real numbers without being quantized, by kind."""
    return Counter(
        op.kind
        for op in graph.operations
        if not isinstance(op, QuantableOperation)
        and any(graph.values[name].is_real for name in op.outputs if name)
    )


def noise_db(family: Family, model: Path, results: Sequence[Outputs], samples: Sequence[Inputs],
             ) -> float:  # fmt: skip
    """Return the signal to noise ratio of results against the float network, worst output."""
    expected = [OrtModel(model).run(sample) for sample in samples]
    names = family.judged or tuple(n for n, y in expected[0].items() if y.dtype == np.float32)
    return min(_decibels([y[n] for y in expected], [y[n] for y in results]) for n in names)


def _decibels(expected: Sequence[npt.NDArray[np.generic]], found: Sequence[npt.NDArray[np.generic]],
              ) -> float:  # fmt: skip
    truth = np.concatenate([y.astype(np.float64).ravel() for y in expected])
    result = np.concatenate([y.astype(np.float64).ravel() for y in found])
    noise = float(((truth - result) ** 2).sum())
    return 10 * float(np.log10((truth**2).sum() / noise)) if noise else float("inf")


def own_db(family: Family, model: Path, graph: Graph) -> float:
    """Return what our quantization leaves."""
    samples = draw(family.sample, EVALUATION, seed=2)
    ours = runtime.reference(graph)
    return noise_db(family, model, [ours.run(s) for s in samples], samples)


def peer_db(family: Family, model: Path) -> float:
    """Return what ONNX Runtime's static quantizer leaves, on the same samples."""
    samples = draw(family.sample, EVALUATION, seed=2)
    with tempfile.TemporaryDirectory() as scratch:
        path = quantize_static(model, draw(family.sample, CALIBRATION, seed=1), Path(scratch))
        theirs = OrtModel(path)
        return noise_db(family, model, [theirs.run(s) for s in samples], samples)


def agreement(family: Family, graph: Graph) -> Agreement:
    """Run the emitted file in ONNX Runtime beside the simulation."""
    samples = draw(family.sample, EVALUATION, seed=2)
    with tempfile.TemporaryDirectory() as scratch:
        probed = backend("onnx").emit(graph, scratch, every_value=True)  # type: ignore[call-arg] # only this backend has it
        theirs = runtime.ort_model()(Path(scratch) / "model.onnx")
        compare, ours = runtime.comparison(), runtime.reference(graph)
        report = compare(graph, ours, theirs, probed["real_values"], iter(samples))
    return Agreement(report.differing, report.elements, report.is_explained)


def compiled(family: Family, model: Path, target: str) -> Code:
    """Compile for a target without floats, and prove the integers."""
    fixed = family.fixed
    sample = fixed.sample or family.sample
    samples = draw(sample, EVALUATION, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            compile_model(
                model, folder, target=target,
                calibration=Calibration(draw(sample, CALIBRATION, seed=1)),
                pipelines={"canonicalize": fixed.canonicalize},
            )  # fmt: skip
        except UnsupportedError as error:
            return Code(0.0, (), str(error))
        claims = tuple(validate(folder, samples))
        integers = runtime.reference(api.load(Path(folder) / "05-lower.qir"))
        results = [integers.run(s) for s in samples]
        return Code(noise_db(family, model, results, samples), claims)
