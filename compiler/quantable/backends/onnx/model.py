"""The ModelProto and its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx.shape_inference
from quantable.backends.onnx.names import NodeWriter
from quantable.backends.onnx.protos import ELEMENT_TYPES, kind_and_domain, tensor, value_info
from quantable.backends.onnx.regions import node_of
from quantable.ir import ContentRef, Graph, InternalError, Value
from quantable.ir.operation_library import recorded_versions
from quantable.passes.base import TOOL_VERSION

INLINE_BYTES = 1_800_000_000
"""Parameters of more bytes go to a file beside the model: a protobuf holds 2 GiB."""
ALIGNMENT = 4096
MIN_IR_VERSION = 4
"""The first that lets an initializer not be an input."""


def build(
    graph: Graph, writer: NodeWriter, opset: int, probes: Iterable[Value] = ()
) -> onnx.ModelProto:
    """Return the model without its initializers; probes are outputs besides the graph's."""
    domains = {kind_and_domain(op.kind)[1] for op in writer.operations} - {""}
    imports = [onnx.helper.make_opsetid("", opset)]
    versions = recorded_versions(graph.metadata)
    imports += [onnx.helper.make_opsetid(d, versions.get(d, 1)) for d in sorted(domains)]
    model = onnx.ModelProto(producer_name="quantable", producer_version=TOOL_VERSION)
    model.opset_import.extend(imports)
    model.ir_version = max(MIN_IR_VERSION, onnx.helper.find_min_ir_version_for(imports[:1]))
    proto = model.graph
    proto.name = graph.name
    proto.input.extend(value_info(graph.values[name]) for name in graph.inputs)
    proto.output.extend(value_info(graph.values[name]) for name in graph.outputs)
    proto.output.extend(value_info(value) for value in probes)
    proto.node.extend(node_of(op, opset, writer.store, graph.values) for op in writer.operations)
    return model


def write(
    model: onnx.ModelProto, writer: NodeWriter, path: Path, *, check: bool = True
) -> dict[str, Path]:
    """Add the initializers, check the model, and write it; an old file stays until it is whole.

    Returns:
        The files by name.

    Raises:
        InternalError: What was made is no valid ONNX.
    """
    total = sum(ref.size_bytes for ref in writer.parameters.values())
    files = {path.name: path}
    partial = path.with_name(f"{path.name}.partial")
    data = path.with_name(f"{path.name}.data")
    if total > INLINE_BYTES:
        files[data.name] = data
        _write_external(model, writer, data)
    else:
        initializers = model.graph.initializer
        initializers.extend(tensor(n, ref, writer.store) for n, ref in writer.parameters.items())
        data.unlink(missing_ok=True)
    partial.write_bytes(model.SerializeToString(deterministic=True))
    if check:
        _check(partial, is_full=not any(map(_is_misread, model.graph.node)))
    partial.replace(path)
    return files


def _is_misread(proto: onnx.NodeProto) -> bool:
    """Whether onnx infers another shape than its own text says: partial windows, a wrong body."""
    is_partial = any(item.name == "ceil_mode" and item.i for item in proto.attribute)
    return is_partial or proto.op_type == "MeanVarianceNormalization"


def _check(path: Path, *, is_full: bool) -> None:
    errors = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        onnx.checker.check_model(str(path), full_check=is_full)
    except errors as error:
        path.unlink()
        raise InternalError(f"the emitted file is no valid ONNX: {error}") from error


def _write_external(model: onnx.ModelProto, writer: NodeWriter, data: Path) -> None:
    """Write contents one after the other, each once, without holding them all."""
    partial = data.with_name(f"{data.name}.partial")
    offsets: dict[str, int] = {}
    with partial.open("wb") as file:
        for ref in writer.parameters.values():
            if ref.digest not in offsets:
                file.write(bytes(-file.tell() % ALIGNMENT))
                offsets[ref.digest] = file.tell()
                file.write(writer.store.raw(ref.digest))
    partial.replace(data)
    for name, ref in writer.parameters.items():
        model.graph.initializer.append(_external(name, ref, data.name, offsets[ref.digest]))


def _external(name: str, ref: ContentRef, location: str, offset: int) -> onnx.TensorProto:
    proto = onnx.TensorProto(name=name, dims=ref.shape)
    proto.data_type = ELEMENT_TYPES[ref.dtype].code
    proto.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(ref.size_bytes)}
    for key, value in entries.items():
        proto.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    return proto
