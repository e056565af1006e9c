"""Bring a checked model to the canonical opset, with inferred shapes."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import onnx
from onnx import checker, helper, inliner, shape_inference, version_converter

from quantable.frontend.domains import is_standard, settle_domains
from quantable.frontend.foreign_types import foreign_types
from quantable.frontend.functions import inlined
from quantable.frontend.legacy import mend
from quantable.frontend.operations.constants import lift_constants
from quantable.frontend.scopes import all_graphs, free_names, subgraphs
from quantable.frontend.support import node_label, require_supported
from quantable.ir import NO_OPERATIONS, ModelError, OperationLibrary, UnsupportedError

CANONICAL_OPSET = 21
OLDEST_OPSET = 1
_FAULT = re.compile(r"\(op_type:(\w+), node name: (.*?)\): (?:\[\w+\] )?(.*)")
"""What a strict shape inference says about one node."""
_LENIENT = frozenset({"MeanVarianceNormalization", "STFT"})
_SCAN_WITHOUT_BATCH = 9
_IR_VERSION = 10
"""IR version of the canonical opset; from version 4 on, initializers need not be inputs."""


def normalize(
    proto: onnx.ModelProto, path: Path, library: OperationLibrary = NO_OPERATIONS
) -> onnx.ModelProto:
    """Check a model and bring it to the canonical opset; newer ones keep theirs.

    Args:
        proto: The model, which is changed.
        path: Its file, for messages.
        library: The user operations at hand.

    Raises:
        ModelError: The model is invalid or cyclic, or onnx cannot upgrade it.
        UnsupportedError: Lists everything that cannot be imported.
    """
    proto = inlined(proto)
    settle_domains(proto)
    proto = _expanded(proto)
    require_supported(proto, path, library)
    opset = _opset(proto, path)
    if opset < _SCAN_WITHOUT_BATCH:
        _refuse_old_scans(proto, path)
    proto.ir_version = max(proto.ir_version, 4)
    for graph in list(all_graphs(proto.graph)):
        _name_nodes(graph)
        lift_constants(graph)
    _require_acyclic(proto.graph, path)
    _require_inputs(proto.graph, path)
    _check(proto, path)
    _drop_initialized_inputs(proto.graph)
    mend(proto, opset)
    if opset < CANONICAL_OPSET:
        proto = upgrade(proto, path, library)
        for graph in list(all_graphs(proto.graph)):
            lift_constants(graph)
        _check(proto, path)  # the upgrade keeps attributes that it does not know
        require_supported(proto, path, library)
    return _inferred(proto, path, library)


def _expanded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Write operations of other domains of the standard as the functions that define them."""
    kinds = {
        (node.domain, node.op_type)
        for graph in all_graphs(proto.graph)
        for node in graph.node
        if not is_standard(node) and _has_body(node.domain, node.op_type)
    }
    if not kinds:
        return proto
    return inliner.inline_selected_functions(proto, sorted(kinds), inline_schema_functions=True)


def _has_body(domain: str, kind: str) -> bool:
    if not onnx.defs.has(kind, domain):
        return False
    schema = onnx.defs.get_schema(kind, domain=domain)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _refuse_old_scans(proto: onnx.ModelProto, path: Path) -> None:
    for graph in all_graphs(proto.graph):
        for node in graph.node:
            if node.op_type == "Scan":
                raise UnsupportedError(
                    f"Scan of opset 8 scans every sample of a batch: expected opset "
                    f"{_SCAN_WITHOUT_BATCH} or later",
                    where=f"{path}: {node_label(node)} (Scan)",
                    help="export the model at a later opset",
                )


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the ai.onnx opset of a model, 0 where it imports none."""
    found = [item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")]
    return max(found, default=0)


def origins(graph: onnx.GraphProto) -> list[tuple[str, ...]]:
    """Return, for every node, the name of the source node that it came from.

    Every source node has a name by now, so a node without one was added by the upgrade: it came
    from the node that reads its result, or else from the one that makes its input.
    """
    reader = {name: i for i, node in reversed(list(enumerate(graph.node))) for name in node.input}
    writer = {name: i for i, node in enumerate(graph.node) for name in node.output}
    found: list[tuple[str, ...]] = [(node.name,) if node.name else () for node in graph.node]
    order = range(len(found))
    for index in reversed(order):
        uses = [found[reader[name]] for name in graph.node[index].output if name in reader]
        found[index] = found[index] or next((names for names in uses if names), ())
    for index in order:
        made = [found[writer[name]] for name in graph.node[index].input if name in writer]
        found[index] = found[index] or next((names for names in made if names), ())
    return found


def _opset(proto: onnx.ModelProto, path: Path) -> int:
    opset, newest = opset_of(proto), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ModelError(
            f"expected opset {OLDEST_OPSET} to {newest} of ai.onnx, found {opset}",
            where=str(path),
            help="export the model at another opset, or install a newer onnx package",
        )
    return opset


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name unnamed nodes after what they make, so that the upgrade cannot lose their origin."""
    for node in graph.node:
        if not node.name:
            node.name = next((name for name in node.output if name), "")


def _require_acyclic(graph: onnx.GraphProto, path: Path) -> None:
    producer = {out: i for i, node in enumerate(graph.node) for out in node.output if out}
    needs = {
        index: {producer[name] for name in node.input if name in producer}
        for index, node in enumerate(graph.node)
    }
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        cycle = [graph.node[index] for index in error.args[1]]
        raise ModelError(
            f"the graph has a cycle: {' -> '.join(node_label(node) for node in cycle)}",
            where=f"{path}: {node_label(cycle[0])} ({cycle[0].op_type})",
            help="no ONNX model may have a cycle; export it again",
        ) from error


def _require_inputs(graph: onnx.GraphProto, path: Path) -> None:
    """Every input of a node is made by something; onnx's checker would blame the order of nodes."""
    known = {item.name for item in (*graph.input, *graph.initializer)}
    known |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise ModelError(
                    f"input '{name}' is made by no node, and is no input or initializer of the "
                    "graph",
                    where=f"{path}: {node_label(node)} ({node.op_type})",
                    help="the model was cut or written wrongly; export it again",
                )


def _check(proto: onnx.ModelProto, path: Path) -> None:
    checked = onnx.ModelProto()
    checked.CopyFrom(proto)
    for item in checked.graph.output:
        # The checker insists on the shape of an output, which exporters and ONNX Runtime do not.
        if item.type.HasField("tensor_type"):
            item.type.tensor_type.shape.SetInParent()
    try:
        checker.check_model(checked)
    except (checker.ValidationError, UnicodeDecodeError) as error:
        text = str(error)
        node = re.search(r"Name: (.+?) OpType: (\w+)", text)
        place = f": node '{node[1]}' ({node[2]})" if node else ""
        raise ModelError(
            f"invalid ONNX: {text.splitlines()[0]}",
            where=f"{path}{place}",
            help="onnx.checker refuses this model; export it again",
        ) from error


def _inferred(proto: onnx.ModelProto, path: Path, library: OperationLibrary) -> onnx.ModelProto:
    """Strict: an attribute or shape that does not fit is refused here and not by a later stage.

    With `ceil_mode`, onnx before opset 22 counts windows that start in the padding, which nothing
    computes: shapes that are right would be refused, so that those models are read leniently. So
    are those whose nodes onnx infers through a function that it writes wrongly.
    """
    strict = not any(_rounds_up(node) or node.op_type in _LENIENT for node in proto.graph.node)
    has_foreign = any(not is_standard(node) for g in all_graphs(proto.graph) for node in g.node)
    try:
        with foreign_types(library) if has_foreign else nullcontext():
            return shape_inference.infer_shapes(proto, data_prop=True, strict_mode=strict)
    except (shape_inference.InferenceError, RuntimeError, UnicodeDecodeError) as error:
        found = _FAULT.findall(str(error))
        lines = [f"node '{name}' ({kind}): {text}" for kind, name, text in found]
        text = "".join(f"\n  {line}" for line in lines) or f" {str(error).splitlines()[0]}"
        raise ModelError(
            f"onnx cannot infer its shapes:{text}",
            where=str(path),
            help="onnx.shape_inference with strict_mode refuses this model; export it again",
        ) from error


def _rounds_up(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "ceil_mode" and attribute.i for attribute in node.attribute)


def _drop_initialized_inputs(graph: onnx.GraphProto) -> None:
    initialized = {tensor.name for tensor in graph.initializer}
    kept = [item for item in graph.input if item.name not in initialized]
    copies = [onnx.ValueInfoProto.FromString(item.SerializeToString()) for item in kept]
    del graph.input[:]
    graph.input.extend(copies)


def upgrade(
    proto: onnx.ModelProto, path: Path, library: OperationLibrary = NO_OPERATIONS
) -> onnx.ModelProto:
    """Bring a checked model to the canonical opset, graphs inside its nodes included.

    The converter of onnx leaves those as they are: each is converted as a model of its own, whose
    further inputs are what it reads of the graph around it, and put back.
    """
    if any(True for node in proto.graph.node for _ in subgraphs(node)):
        proto = _inferred(proto, path, library)
        known = dict(_types(proto.graph))
        for node in proto.graph.node:
            for _, inner in subgraphs(node):
                _upgrade_inner(inner, known, proto, path, library)
    proto.ir_version = max(proto.ir_version, _IR_VERSION)
    try:
        return version_converter.convert_version(proto, CANONICAL_OPSET)
    except (version_converter.ConvertError, RuntimeError, IndexError, ValueError) as error:
        raise ModelError(
            f"onnx cannot upgrade it to opset {CANONICAL_OPSET}: {str(error).splitlines()[0]}",
            where=str(path),
            help=f"export the model at opset {CANONICAL_OPSET}",
        ) from error


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto]]:
    for item in (*graph.input, *graph.value_info, *graph.output):
        yield item.name, item.type
    for tensor in graph.initializer:
        yield tensor.name, helper.make_tensor_type_proto(tensor.data_type, tensor.dims)


def _upgrade_inner(
    graph: onnx.GraphProto,
    known: Mapping[str, onnx.TypeProto],
    outer: onnx.ModelProto,
    path: Path,
    library: OperationLibrary,
) -> None:
    """Upgrade a graph inside a node, in place."""
    own = len(graph.input)
    model = onnx.ModelProto(ir_version=outer.ir_version, opset_import=outer.opset_import)
    model.graph.CopyFrom(graph)
    for name in free_names(graph):
        model.graph.input.append(onnx.ValueInfoProto(name=name, type=known.get(name)))
    converted = upgrade(model, path, library).graph
    del converted.input[own:]
    graph.CopyFrom(converted)
