"""ONNX -> Graph."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import AttributeProto

from quantable.frontend.model_file import ModelFile, read_model
from quantable.frontend.support import node_label
from quantable.frontend.tensors import DTYPES, tensor_bytes
from quantable.frontend.upgrade import normalize, opset_of, origins
from quantable.ir import (
    ContentRef,
    ContentStore,
    Graph,
    ModelError,
    Operation,
    Shape,
    StageRecord,
    UnsupportedError,
    Value,
    graph_digest,
    verify,
)
from quantable.ir.graph import Dim
from quantable.ir.operation import Attribute
from quantable.passes.base import TOOL_VERSION, Executor

IMPORT_VERSION = 1


def import_model(path: str | os.PathLike[str], *, executor: Executor | None = None) -> Graph:
    """Import an ONNX model.

    Opsets below 21 are upgraded to 21, newer ones are kept. Names of values are kept exactly;
    Constant nodes and initializers are parameters. Large contents stay views of the mapped files:
    they must not be overwritten while the graph is in use.

    Args:
        path: The .onnx file; external data lies in its folder.
        executor: Every stage may be handed one; an import executes nothing.

    Returns:
        A graph at the float level whose history is one record, ``import``.

    Raises:
        FormatError: The file is truncated or foreign.
        ModelError: The model is missing, invalid, cyclic, or misses external data.
        UnsupportedError: Lists everything in the model that cannot be imported.
    """
    del executor
    source = read_model(Path(path))
    proto = normalize(source.proto, source.path)
    graph = _Importer(source, proto).graph()
    verify(graph, after="import")
    record = StageRecord(
        "import", IMPORT_VERSION, output_digest=graph_digest(graph), data_digest=source.digest,
        tool_version=TOOL_VERSION,
    )  # fmt: skip
    return replace(graph, history=(record,))


class _Importer:
    """Builds the graph of one model."""

    def __init__(self, source: ModelFile, proto: onnx.ModelProto) -> None:
        self._source = source
        self._proto = proto
        self._store = ContentStore()
        self._origins = origins(proto.graph)
        self._unknown: dict[str, str] = {}
        self._symbols = _symbols(source.proto.graph)
        self._names: set[str] = set()

    def graph(self) -> Graph:
        proto = self._proto.graph
        parameters = self._parameters()
        values = self._values(parameters)
        return Graph(
            name=proto.name,
            opset=opset_of(self._proto),
            inputs=tuple(item.name for item in proto.input if item.name not in parameters),
            outputs=tuple(item.name for item in proto.output),
            values=values,
            operations=tuple(self._operation(i, node) for i, node in enumerate(proto.node)),
            parameters=parameters,
            store=self._store,
        )

    def _parameters(self) -> dict[str, ContentRef]:
        used = {name for node in self._proto.graph.node for name in node.input}
        used |= {item.name for item in self._proto.graph.output}
        refs = {
            name: self._store.put_bytes(held.data, held.dtype, held.shape)
            for name, held in self._source.payloads.items()
            if name in used
        }
        for tensor in self._proto.graph.initializer:
            if tensor.name in used:
                refs[tensor.name] = self._tensor(tensor)
        return refs

    def _tensor(self, tensor: onnx.TensorProto) -> ContentRef:
        data = tensor_bytes(tensor, str(self._source.path))
        return self._store.put_bytes(data, DTYPES[tensor.data_type], tuple(tensor.dims))

    def _values(self, parameters: dict[str, ContentRef]) -> dict[str, Value]:
        proto = self._proto.graph
        values = {n: Value(n, ref.dtype, ref.shape) for n, ref in parameters.items()}
        for item in (*proto.input, *proto.output, *proto.value_info):
            is_known = item.type.tensor_type.elem_type in DTYPES
            if is_known and item.name not in values and item.name not in self._source.payloads:
                values[item.name] = self._value(item)
        missing = [
            f"{node_label(node)} ({node.op_type})"
            for node in proto.node
            for name in node.output
            if name and name not in values
        ]
        if missing:
            raise UnsupportedError(
                "the type of what these nodes make is unknown, or one that is not supported:"
                f" {', '.join(missing)}",
                where=str(self._source.path),
                help="run onnx.shape_inference on the model with strict_mode to see why",
            )
        return values

    def _value(self, item: onnx.ValueInfoProto) -> Value:
        kind = item.type.tensor_type
        shape = self._shape(kind.shape.dim) if kind.HasField("shape") else None
        return Value(item.name, DTYPES[kind.elem_type], shape)

    def _shape(self, dims: Iterable[onnx.TensorShapeProto.Dimension]) -> Shape:
        return tuple(self._dim(dim) for dim in dims)

    def _dim(self, dim: onnx.TensorShapeProto.Dimension) -> Dim:
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
        if dim.dim_param in self._symbols:
            return str(dim.dim_param)
        # Inference makes up a symbol where it knows nothing; each gets a name that says so.
        key = dim.dim_param or f"unnamed {len(self._unknown)}"
        return self._unknown.setdefault(key, f"?{len(self._unknown) + 1}")

    def _operation(self, index: int, node: onnx.NodeProto) -> Operation:
        hint = node.name or next((name for name in node.output if name), node.op_type)
        attributes = {item.name: self._attribute(node, item) for item in node.attribute}
        return Operation(
            self._unique(hint), node.op_type, _trimmed(node.input), _trimmed(node.output),
            attributes, self._origins[index],
        )  # fmt: skip

    def _unique(self, hint: str) -> str:
        name, counter = hint, 1
        while name in self._names:
            name, counter = f"{hint}.{counter}", counter + 1
        self._names.add(name)
        return name

    def _attribute(self, node: onnx.NodeProto, item: onnx.AttributeProto) -> Attribute:
        match item.type:
            case AttributeProto.FLOAT:
                return float(item.f)
            case AttributeProto.INT:
                return int(item.i)
            case AttributeProto.STRING:
                return str(item.s.decode(errors="backslashreplace"))
            case AttributeProto.FLOATS:
                return tuple(float(v) for v in item.floats)
            case AttributeProto.INTS:
                return tuple(int(v) for v in item.ints)
            case AttributeProto.STRINGS:
                return tuple(v.decode(errors="backslashreplace") for v in item.strings)
            case AttributeProto.TENSOR:
                return self._tensor(item.t)
        raise ModelError(
            f"attribute '{item.name}' has a type that no supported operation takes",
            where=f"{self._source.path}: {node_label(node)} ({node.op_type})",
        )


def _symbols(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the symbolic dimensions that a model states."""
    items = (*graph.input, *graph.output, *graph.value_info)
    dims = [dim for item in items for dim in item.type.tensor_type.shape.dim]
    return {str(dim.dim_param) for dim in dims if dim.dim_param}


def _trimmed(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of slots; absent ones at the end are no slots."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)
