"""Write a float or a quantable graph as ``model.onnx`` and ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantable.backends.onnx.expansions import expand
from quantable.backends.onnx.forms import as_written
from quantable.backends.onnx.model import build, write
from quantable.backends.onnx.names import NodeWriter
from quantable.backends.onnx.opsets import is_expressible, lowest_opset
from quantable.backends.onnx.qdq import QdqWriter, check_expressible
from quantable.ir import DType, Graph, Level, OptionError, UnsupportedError, Value, graph_digest
from quantable.passes.base import TOOL_VERSION

MODEL, MANIFEST = "model.onnx", "manifest.json"
MANIFEST_FORMAT = 1


def emit(graph: Graph, directory: str | Path, *, every_value: bool = False) -> dict[str, Any]:
    """Write a graph as an ONNX file of the lowest opset that expresses it, and its manifest.

    The bytes depend on the graph alone. Every value of the graph keeps its name in the file.

    Args:
        graph: At float level (a plain export) or at quantable level, calibrated.
        directory: Made where it does not exist.
        every_value: Make every float activation an output of the file, and every real value that
            a producer's quantizer reads; the manifest's ``real_values`` has the latter's names by
            the quantized value's. For finding out where a runtime differs.

    Returns:
        The manifest: what was written, from which graph, and its inputs and outputs.

    Raises:
        OptionError: The graph is at another level, or a row in force has no scale.
        UnsupportedError: Operations or slots that ONNX cannot say, all of them listed.
    """
    _check(graph)
    opset = lowest_opset(graph)
    writer = NodeWriter(graph)
    quantizers = QdqWriter(graph, writer)
    for name in dict.fromkeys(name for name in graph.outputs if name in graph.parameters):
        source = writer.parameter(writer.fresh(f"{name}.constant"), graph.parameters[name])
        writer.node("Identity", (source,), (name,), {})
    for operation in graph.operations:
        inputs = tuple(quantizers.input(operation, i) for i in range(len(operation.inputs)))
        outputs = tuple(quantizers.output(operation, i) for i in range(len(operation.outputs)))
        form = as_written(graph, operation, opset)
        # A form may take fewer operands; those that are left keep their place.
        plain = replace(form, inputs=inputs[: len(form.inputs)], outputs=outputs)
        for written in expand(graph, plain, opset, writer):
            writer.operation(written)
        for index, name in enumerate(outputs):
            quantizers.after(operation, index, name)
    probes = _probes(graph, quantizers.real_values) if every_value else ()
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    model = build(graph, writer, opset, probes)
    # The checker wants a rank of every output, which an inner value need not have.
    files = write(model, writer, folder / MODEL, check=not every_value)
    facts: dict[str, Any] = {
        "opset": opset, "ir_version": model.ir_version, "quantizers": quantizers.pair_count,
    }  # fmt: skip
    if every_value:
        facts["real_values"] = quantizers.real_values
    return _write_manifest(graph, folder, files, facts)


def _probes(graph: Graph, real_values: dict[str, str]) -> tuple[Value, ...]:
    """Return the values that become outputs besides the graph's own."""
    names = [name for op in graph.operations for name in op.outputs if name]
    inner = [graph.values[name] for name in names if name not in graph.outputs]
    real = [Value(name, DType.FLOAT32) for name in real_values.values()]
    return tuple(value for value in (*inner, *real) if _is_real(value))


def _is_real(value: Value) -> bool:
    return value.dtype is DType.FLOAT32 and value.is_tensor


def _check(graph: Graph) -> None:
    if graph.level not in (Level.FLOAT, Level.QUANTABLE):
        raise OptionError(
            f"the onnx backend: expected level float or quantable, found {graph.level.value}",
            where=f"graph '{graph.name}'",
            help="emit the file of an earlier stage; the c backend takes integer levels",
        )
    foreign = [op.where() for op in graph.operations if not is_expressible(op.kind)]
    if foreign:
        raise UnsupportedError(f"no ONNX operation for {'; '.join(foreign)}")
    unfilled = [
        f"{op.where()} {side}{index}"
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
        if config.is_quantized and not graph.rows[config.row].is_filled
    ]
    if unfilled:
        raise OptionError(
            f"{len(unfilled)} slots have no scale yet, the first: {unfilled[0]}",
            where=f"graph '{graph.name}'",
            help="calibrate the graph before emitting it",
        )
    check_expressible(graph)


def _write_manifest(
    graph: Graph, folder: Path, files: dict[str, Path], facts: dict[str, Any]
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": MANIFEST_FORMAT,
        "backend": "onnx",
        "tool_version": TOOL_VERSION,
        "graph": graph_digest(graph),
        "name": graph.name,
        "level": graph.level.value,
        "target": graph.target,
        **facts,
        "inputs": [_described(graph.values[name]) for name in graph.inputs],
        "outputs": [_described(graph.values[name]) for name in graph.outputs],
        "files": {
            name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
            for name, path in files.items()
        },
    }
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST)
    return manifest


def _described(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype.value, "shape": shape}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
