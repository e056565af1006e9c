"""Domains of operations: the standard's own, and that of ONNX Runtime."""

from __future__ import annotations

import onnx

from quantable.frontend.scopes import all_graphs
from quantable.ir.standard_operations import MICROSOFT

_STANDARD = ("", "ai.onnx")
_KEPT_IN_THE_STANDARD = frozenset({"SimplifiedLayerNormalization"})
"""What ONNX Runtime adds to the standard's domain instead of to its own."""
_VERSION = 1


def kind_of(node: onnx.NodeProto) -> str:
    """Return the kind of operation that a node is: its type, behind its domain where it has one."""
    return node.op_type if node.domain in _STANDARD else f"{node.domain}.{node.op_type}"


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether a node is an operation of ai.onnx."""
    return node.domain in _STANDARD


def settle_domains(proto: onnx.ModelProto) -> None:
    """Give operations of ONNX Runtime their domain, and its one version, in place.

    Files that its optimizer wrote use the domain without importing it, import other versions of it,
    and keep some of its operations in the domain of the standard.
    """
    has_any = False
    for graph in all_graphs(proto.graph):
        for node in graph.node:
            if node.op_type in _KEPT_IN_THE_STANDARD and is_standard(node):
                node.domain = MICROSOFT
            has_any |= node.domain == MICROSOFT
    kept = [item for item in proto.opset_import if item.domain != MICROSOFT]
    copies = [onnx.OperatorSetIdProto.FromString(item.SerializeToString()) for item in kept]
    del proto.opset_import[:]
    proto.opset_import.extend(copies)
    if has_any:
        proto.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, _VERSION))
