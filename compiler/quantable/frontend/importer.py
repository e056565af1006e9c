"""ONNX -> Graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import AttributeProto

from quantable.frontend.domains import kind_of
from quantable.frontend.model_file import ModelFile, read_model
from quantable.frontend.scopes import free_names, read_names, subgraphs
from quantable.frontend.support import node_label
from quantable.frontend.tensors import DTYPES, tensor_bytes
from quantable.frontend.upgrade import normalize, opset_of, origins
from quantable.frontend.user_operations import has_user_operations, with_user_operations
from quantable.frontend.value_types import tensor_of
from quantable.ir import (
    CAPTURES,
    NO_OPERATIONS,
    ContentRef,
    ContentStore,
    Graph,
    ModelError,
    Operation,
    OperationLibrary,
    Region,
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


def import_model(
    path: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    library: Callable[[], OperationLibrary] = lambda: NO_OPERATIONS,
) -> Graph:
    """Import an ONNX model.

    Opsets below 21 are upgraded to 21, newer ones are kept. Names of values are kept exactly;
    Constant nodes and initializers are parameters. Large contents stay views of the mapped files:
    they must not be overwritten while the graph is in use.

    Args:
        path: The .onnx file; external data lies in its folder.
        executor: Every stage may be handed one; an import executes nothing.
        library: Returns the user operations at hand; asked where the model has some. The metadata
            say which.

    Returns:
        A graph at the float level whose history is one record, ``import``.

    Raises:
        FormatError: The file is truncated or foreign.
        ModelError: The model is missing, invalid, cyclic, or misses external data.
        UnsupportedError: Lists everything in the model that cannot be imported.
    """
    del executor
    source = read_model(Path(path))
    held = library() if has_user_operations(source.proto) else NO_OPERATIONS
    proto = normalize(source.proto, source.path, held)
    symbols = _symbols(source.proto.graph)
    graph = _Importer(source, proto.graph, ContentStore(), symbols).graph(opset_of(proto))
    graph = with_user_operations(graph, proto, held)
    verify(graph, after="import")
    record = StageRecord(
        "import", IMPORT_VERSION, output_digest=graph_digest(graph), data_digest=source.digest,
        tool_version=TOOL_VERSION,
    )  # fmt: skip
    return replace(graph, history=(record,))


class _Importer:
    """Builds the graph of one model, or the region of a graph inside one.

    Args:
        source: The file.
        proto: The graph.
        store: Where contents go.
        symbols: Names of the dimensions that the model states.
        outer: What a graph inside a node can read of the scopes around it.
    """

    def __init__(
        self,
        source: ModelFile,
        proto: onnx.GraphProto,
        store: ContentStore,
        symbols: set[str],
        outer: _Importer | None = None,
    ) -> None:
        self._source = source
        self._proto = proto
        self._store = store
        self._outer = outer
        self._origins = origins(proto)
        self._unknown: dict[str, str] = {}
        self._symbols = symbols
        self._names: set[str] = set()
        self._refs = self._parameters()
        self._types = self._values()

    def graph(self, opset: int) -> Graph:
        """Return the graph of the model."""
        proto, refs = self._proto, self._refs
        return Graph(
            name=proto.name,
            opset=opset,
            inputs=tuple(item.name for item in proto.input if item.name not in refs),
            outputs=tuple(item.name for item in proto.output),
            values=self._types,
            operations=self._operations(),
            parameters=refs,
            store=self._store,
        )

    def region(self, captures: tuple[str, ...]) -> Region:
        """Return the region that the graph is."""
        own = tuple(item.name for item in self._proto.input if item.name not in self._refs)
        outputs = tuple(item.name for item in self._proto.output)
        operations = self._operations()
        named = {*own, *captures, *outputs, *self._refs}
        named |= {name for op in operations for name in (*op.inputs, *op.outputs)}
        values = {name: value for name, value in self._types.items() if name in named}
        for name in captures:
            values.setdefault(name, self._type_of(name))
        return Region(self._proto.name, (*own, *captures), outputs, values, operations, self._refs)

    def _operations(self) -> tuple[Operation, ...]:
        return tuple(self._operation(i, node) for i, node in enumerate(self._proto.node))

    def _type_of(self, name: str) -> Value:
        """Return a value of this scope or of one around it."""
        if name in self._types or self._outer is None:
            return self._types[name]
        return self._outer._type_of(name)

    def _ref_of(self, name: str) -> ContentRef | None:
        """Return the contents of a parameter of this scope or of one around it."""
        defined = name in self._types and name not in self._refs
        if name in self._refs or self._outer is None or defined:
            return self._refs.get(name)
        return self._outer._ref_of(name)

    def _parameters(self) -> dict[str, ContentRef]:
        used = read_names(self._proto)
        refs: dict[str, ContentRef] = {}
        if self._outer is None:
            for name, held in self._source.payloads.items():
                if name in used:
                    refs[name] = self._store.put_bytes(held.data, held.dtype, held.shape)
        else:  # constants of the scopes around are constants here, too
            for name in free_names(self._proto):
                ref = self._outer._ref_of(name)
                if ref is not None:
                    refs[name] = ref
        for tensor in self._proto.initializer:
            if tensor.name in used:
                refs[tensor.name] = self._tensor(tensor)
        return refs

    def _tensor(self, tensor: onnx.TensorProto) -> ContentRef:
        data = tensor_bytes(tensor, str(self._source.path))
        return self._store.put_bytes(data, DTYPES[tensor.data_type], tuple(tensor.dims))

    def _values(self) -> dict[str, Value]:
        proto = self._proto
        values = {n: Value(n, ref.dtype, ref.shape) for n, ref in self._refs.items()}
        for item in (*proto.input, *proto.output, *proto.value_info):
            if item.name not in values and item.name not in self._source.payloads:
                found = self._value(item)
                if found is not None:
                    values[item.name] = found
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

    def _value(self, item: onnx.ValueInfoProto) -> Value | None:
        found = tensor_of(item.type)
        if found is None:
            return None
        kind, container = found
        shape = self._shape(kind.shape.dim) if kind.HasField("shape") else None
        return Value(item.name, DTYPES[kind.elem_type], shape, container)

    def _shape(self, dims: Iterable[onnx.TensorShapeProto.Dimension]) -> Shape:
        return tuple(self._dim(dim) for dim in dims)

    def _dim(self, dim: onnx.TensorShapeProto.Dimension) -> Dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:  # inference makes -1 of some
            return int(dim.dim_value)
        if dim.dim_param in self._symbols:
            return str(dim.dim_param)
        # Inference makes up a symbol where it knows nothing; each gets a name that says so.
        key = dim.dim_param or f"unnamed {len(self._unknown)}"
        return self._unknown.setdefault(key, f"?{len(self._unknown) + 1}")

    def _operation(self, index: int, node: onnx.NodeProto) -> Operation:
        hint = node.name or next((name for name in node.output if name), node.op_type)
        inputs, attributes = _trimmed(node.input), self._attributes(node)
        inner = dict(subgraphs(node))
        if inner:
            captures = self._captures(inner.values())
            inputs = (*_padded(node, inputs), *captures)
            attributes[CAPTURES] = len(captures)
            for name, graph in inner.items():
                scope = _Importer(self._source, graph, self._store, self._symbols, self)
                attributes[name] = scope.region(captures)
        return Operation(
            self._unique(hint), kind_of(node), inputs, _trimmed(node.output), attributes,
            self._origins[index],
        )  # fmt: skip

    def _captures(self, graphs: Iterable[onnx.GraphProto]) -> tuple[str, ...]:
        """Return what graphs inside a node read of the scopes around, constants left out."""
        names = dict.fromkeys(name for graph in graphs for name in free_names(graph))
        return tuple(name for name in names if self._ref_of(name) is None)

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Attribute]:
        return {
            item.name: self._attribute(node, item)
            for item in node.attribute
            if item.type not in (AttributeProto.GRAPH, AttributeProto.TYPE_PROTO)
        }

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


def _padded(node: onnx.NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the operands with absent ones where captured ones must not take their place."""
    fewest = {"If": 1, "Loop": 2}.get(node.op_type, 0)
    return (*inputs, *("",) * (fewest - len(inputs)))


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
