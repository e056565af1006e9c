"""TypeProto -> element type, shape and container."""

from __future__ import annotations

import onnx

from quantable.frontend.tensors import DTYPES
from quantable.ir import Container

_SEQUENCES = {Container.TENSOR: Container.SEQUENCE}
_OPTIONALS = {
    Container.TENSOR: Container.OPTIONAL, Container.SEQUENCE: Container.OPTIONAL_SEQUENCE,
}  # fmt: skip


def tensor_of(kind: onnx.TypeProto) -> tuple[onnx.TypeProto.Tensor, Container] | None:
    """Return the type of the tensors that a value holds, and how it holds them.

    None where it holds none, where its element type is not known, or where it is nested deeper than
    the IR's values are.
    """
    match kind.WhichOneof("value"):
        case "tensor_type":
            tensor = kind.tensor_type
            return (tensor, Container.TENSOR) if tensor.elem_type in DTYPES else None
        case "sequence_type":
            return _inside(kind.sequence_type.elem_type, _SEQUENCES)
        case "optional_type":
            return _inside(kind.optional_type.elem_type, _OPTIONALS)
    return None


def _inside(
    kind: onnx.TypeProto, containers: dict[Container, Container]
) -> tuple[onnx.TypeProto.Tensor, Container] | None:
    inner = tensor_of(kind)
    if inner is None or inner[1] not in containers:
        return None
    return inner[0], containers[inner[1]]
