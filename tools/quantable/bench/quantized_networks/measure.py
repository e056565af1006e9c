"""What became of one quantized network, measured."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.adapters.difference import compare
from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx import emit
from quantable.bench.quantized_networks.tools import Tool
from quantable.driver import api
from quantable.driver.quantized_models import (
    is_quantized,
    quantize_pipeline,
    with_kept_weights,
)
from quantable.ir import Graph, QuantableError, UserError
from quantable.ir.diff import Attention, GraphDiff, diff_graphs
from quantable.passes.canonicalize.fold_channel_scales import FoldChannelScales
from quantable.passes.canonicalize.qoperator_forms import FORMS
from quantable.passes.canonicalize.quantizer_forms import QUANTIZERS
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers
from quantable.reference import ReferenceRuntime

Array = npt.NDArray[np.generic]
Inputs = Sequence[Mapping[str, Array]]
FUSION = "QDQSelectorActionTransformer"
"""ONNX Runtime's name for kernels of its own in the place of operations between quantizers."""
INTEGER_TARGET = "c-portable"
_AS_IT_IS = "expand-qoperators,move-quantizers,adopt-quantizers"
"""What brings a model to configs without changing any other operation."""
_QUANTIZED = frozenset({*QUANTIZERS, *FORMS, "DynamicQuantizeLinear"})
_RELU = frozenset({"Relu", "Clip"})


def measure(
    tool: Tool, model: Path, calibration: Sequence[Array], inputs: Inputs, own: Graph
) -> dict[str, Any]:
    """Quantize with a tool, import what comes out, and compare.

    Args:
        tool: Which.
        model: The float network.
        calibration: Inputs for the tool, a batch of one each.
        inputs: Inputs to compare on, by name.
        own: Our quantization of the same network, for `onnxruntime`.

    Returns:
        Facts by name; ``failed`` alone where the tool fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = folder / "quantized.onnx"
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                tool.make(model, [np.asarray(item, np.float32) for item in calibration], path)
                OrtModel(path).run(inputs[0])
        except Exception as error:  # whatever another tool raises, or ONNX Runtime on its file
            return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:120]}
        (name,) = inputs[0]
        given = [{name: np.asarray(item, np.float32)} for item in calibration]
        return _measured(path, folder, inputs, own, given)


def _measured(
    path: Path, folder: Path, inputs: Inputs, own: Graph, calibration: Inputs
) -> dict[str, Any]:
    remarks: api.Remarks = []
    imported = api.import_model(path)
    if not any(op.kind in _QUANTIZED for op in imported.operations):
        return {"failed": "it quantizes nothing"}
    passes = "canonicalize" if is_quantized(imported) else with_kept_weights("canonicalize")
    canonical = api.canonicalize(imported, passes=passes)
    adopts = quantize_pipeline(canonical) == AdoptQuantizers.name
    graph, as_it_is = canonical, imported
    if adopts:
        graph = api.refine(api.quantize(canonical, "onnxruntime", remarks=remarks))
        as_it_is = api.optimize(imported, _AS_IT_IS, target="onnxruntime")
    files = {
        "trip": as_it_is,
        "canonical": graph,
    }
    for name, made in files.items():
        emit(made, folder / name)
    stays = [text for _, _, text in remarks if text.startswith("stays an operation")]
    return {
        "adopted": adopts,
        "operations": len(graph.operations),
        "rows": len(graph.rows),
        "baked": sum(len(op.baked) for op in graph.quantable_operations),
        "left": sum(op.kind in QUANTIZERS for op in graph.operations),
        "reasons": dict(Counter(stays)),
        **_runs(graph, path, folder, inputs),
        "import": _differing(_Reference(imported), OrtModel(path), inputs),
        "integer": integer_facts(canonical, path, inputs, calibration),
        "diff": _diff(diff_graphs(graph, own, [Attention.STRUCTURE, Attention.QUANTIZATION])),
    }  # fmt: skip


class _Reference:
    def __init__(self, graph: Graph) -> None:
        self._runtime = ReferenceRuntime(graph)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs."""
        return self._runtime.run(inputs)


def _runs(graph: Graph, path: Path, folder: Path, inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Compare the imported network with ONNX Runtime, and both files with each other there."""
    again = folder / "trip" / "model.onnx"
    canonical = OrtModel(folder / "canonical" / "model.onnx")
    plain = OrtModel(path)
    facts = emit(graph, folder / "probed", every_value=True)
    probed = OrtModel(folder / "probed" / "model.onnx")
    report = compare(graph, ReferenceRuntime(graph), probed, facts["real_values"], inputs)
    causes = {cause.value: count for cause, count in report.causes.items()}
    found = {
        "reference": _differing(_Reference(graph), plain, inputs) | {"causes": causes},
        "trip": _differing(OrtModel(again), plain, inputs),
        "canonical": _differing(canonical, plain, inputs),
    }
    fast = OrtModel(path, optimize=True)
    found["fast-trip"] = _differing(OrtModel(again, optimize=True), fast, inputs)
    found["fast"] = _differing(fast, plain, inputs)
    found["unfused"] = _differing(OrtModel(path, optimize=True, without=(FUSION,)), plain, inputs)
    return found


def _differing(ours: Any, theirs: Any, inputs: Inputs) -> dict[str, Any]:
    """Count the elements of outputs that differ, and the largest difference."""
    differing, elements, largest = 0, 0, 0.0
    for given in inputs:
        mine, other = ours.run(given), theirs.run(given)
        for name, array in other.items():
            differing += int(np.count_nonzero(mine[name] != array))
            elements += array.size
            gap = np.abs(mine[name].astype(np.float64) - array.astype(np.float64))
            largest = max(largest, float(gap.max(initial=0.0)))
    return {"differing": differing, "elements": elements, "largest": largest}


def integer_facts(
    canonical: Graph, path: Path, inputs: Inputs, calibration: Inputs
) -> dict[str, Any]:
    """Lower for an integer target, and compare with ONNX Runtime.

    Args:
        canonical: The file's network.
        path: The file.
        inputs: To compare on.
        calibration: For what the file does not quantize; taken where it cannot be lowered without.

    Returns:
        How many elements differ, or why and in how many places the target refuses it and, under
        'completed', what calibration makes of it.
    """
    canonical = api.optimize(canonical, FoldChannelScales.name)
    try:
        graph = api.quantize(canonical, INTEGER_TARGET)
        lowered = api.lower(api.refine(graph))
    except UserError as error:
        places = error.message.count("\n")
        found = {"refused": error.message.splitlines()[0], "places": places}
        return found | {"completed": _completed(canonical, path, inputs, calibration)}
    except QuantableError as error:
        return {"refused": f"{type(error).__name__}: {error.message}".splitlines()[0], "places": 1}
    return _differing(_Reference(lowered), OrtModel(path), inputs)


def _completed(
    canonical: Graph, path: Path, inputs: Inputs, calibration: Inputs
) -> dict[str, Any] | None:
    """Return the signal to quantization noise of the worst output in dB; None where refused."""
    try:
        graph = api.quantize(canonical, INTEGER_TARGET, complete=True)
        graph = api.calibrate(graph, api.observe(canonical, list(calibration)))
        lowered = _Reference(api.lower(api.refine(graph)))
    except UserError:
        return None
    theirs = OrtModel(path)
    tiny = float(np.finfo(np.float64).tiny)
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    for given in inputs:
        found = lowered.run(given)
        for name, array in theirs.run(given).items():
            real = array.astype(np.float64)
            errors = found[name].astype(np.float64) - real
            signal[name] = signal.get(name, 0.0) + float((real**2).sum())
            noise[name] = noise.get(name, 0.0) + float((errors**2).sum())
    worst = min(signal[name] / max(noise[name], tiny) for name in signal)
    return {"sqnr": round(10 * math.log10(max(worst, tiny)), 1)}


def _diff(found: GraphDiff) -> dict[str, Any]:
    """Return what differs from our own quantization, by what it is."""
    fields = Counter(change.name for entry in found.quantization for change in entry.fields)
    relus = sum(ref.kind in _RELU for ref in (*found.added, *found.removed))
    rest = [ref.kind for ref in (*found.added, *found.removed) if ref.kind not in _RELU]
    return {
        "relus": relus,
        "operations": dict(Counter(rest)),
        "replaced": len(found.replaced),
        "attributes": len(found.attributes),
        "slots": len(found.quantization),
        "fields": dict(fields),
    }
