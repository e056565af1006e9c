"""Names of nodes that say which module of a network they come from."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from typing import Any

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node: the modules that it lies in, from the outermost on, and its name in the
exported program."""


def name_nodes(model: Any, modules: Iterable[str]) -> None:
    """Name every node of an `onnx_ir.Model` after its module: ``layer1.0.conv1``.

    Where a module makes several nodes, each has the name of its step behind that:
    ``layers.0.self_attn/linear``. A convolution that took in a normalization has the name of the
    module that its weights come from. Everything else that the exporter wrote beside the nodes
    (paths of files, the program's text) is taken out.
    """
    known = set(modules)
    nodes = list(model.graph.all_nodes())
    places = [_place(node, known) for node in nodes]
    shared = Counter(path for path, _ in places)
    taken: set[str] = set()
    for node, (path, step) in zip(nodes, places, strict=True):
        alone = path and shared[path] == 1
        hint = path if alone else "/".join(part for part in (path, step) if part)
        node.name = _unique(hint or node.op_type, taken)
        _clean(node)
        for value in node.outputs:
            _clean(value)
    for item in (model, model.graph, *model.graph.inputs, *model.graph.initializers.values()):
        _clean(item)


def _place(node: Any, known: set[str]) -> tuple[str, str]:
    """Return (path of the module, step) of a node."""
    scopes = [str(item) for item in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))]
    step = scopes[-1] if scopes else node.op_type
    path = next((item for item in reversed(scopes[:-1]) if item in known), "")
    if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) > 1 and node.inputs[1]:
        owner, _, role = str(node.inputs[1].name).rpartition(".")
        if role == "weight" and owner in known:
            path = owner
    return path, step


def _unique(hint: str, taken: set[str]) -> str:
    name, counter = hint, 1
    while name in taken:
        counter += 1
        name = f"{hint}_{counter}"
    taken.add(name)
    return name


def _clean(item: Any) -> None:
    item.metadata_props.clear()
    item.doc_string = None
