"""Read an ONNX file: a small ModelProto, and views of the contents that were too large for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped] # no stubs
from onnx import TensorProto

from quantable.frontend.external_data import ExternalData, map_file, sha256_of
from quantable.frontend.tensors import DTYPES, byte_size, tensor_bytes
from quantable.frontend.wire import detach_initializers
from quantable.ir import DType, FormatError, ModelError

_INLINE_LIMIT = 4096
"""Initializers of up to so many bytes stay in the proto: shape inference reads the small ones."""
_MAP_FROM = 1 << 26
"""Smaller files are read, so that a graph does not depend on them any more; larger are mapped."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Contents of an initializer."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes | memoryview


@dataclass(frozen=True)
class ModelFile:
    """A model as it was read.

    Attributes:
        path: Where it lies, for messages.
        proto: The model; initializers in `payloads` are graph inputs here.
        payloads: Large contents by initializer name.
        digest: sha256 of the file, or of the digests of the file and its external data.
    """

    path: Path
    proto: onnx.ModelProto
    payloads: Mapping[str, Payload]
    digest: str


def read_model(path: Path) -> ModelFile:
    """Read a model; nothing larger than a few kilobytes is copied from a mapped file.

    Raises:
        FormatError: The file is no ONNX model, or was cut off.
        ModelError: It is missing, or its external data cannot be used.
    """
    data = _read(path)
    proto, spans = _parse(path, data)
    external = ExternalData(path)
    payloads: dict[str, Payload] = {}
    kept: list[onnx.TensorProto] = []
    for index, tensor in enumerate(proto.graph.initializer):
        if tensor.data_type not in DTYPES:
            kept.append(tensor)  # named in the list of what is not supported
            continue
        held = _contents(path, data, tensor, spans[index], external)
        if held is None or len(held) <= _INLINE_LIMIT:
            kept.append(_inline(tensor, held))
        else:
            shape = tuple(tensor.dims)
            payloads[tensor.name] = Payload(DTYPES[tensor.data_type], shape, held)
    _replace_initializers(proto.graph, kept, payloads)
    return ModelFile(path, proto, payloads, _digest(data, external))


def _read(path: Path) -> memoryview:
    if not path.is_file():
        raise ModelError("no such file", where=str(path), help="expected the path of an .onnx file")
    if path.stat().st_size < _MAP_FROM:
        return memoryview(path.read_bytes())
    return map_file(path)


def _parse(path: Path, data: memoryview) -> tuple[onnx.ModelProto, list[tuple[int, int] | None]]:
    proto = onnx.ModelProto()
    hint = "expected a file that onnx.save wrote; copy or export it again"
    try:
        small, spans = detach_initializers(data, _INLINE_LIMIT)
        proto.ParseFromString(small)
    except FormatError as error:
        raise FormatError(error.message, where=str(path), help=hint) from error
    except DecodeError as error:
        raise FormatError("no ONNX model", where=str(path), help=hint) from error
    if not _is_text(proto):
        raise FormatError("corrupt: a name is not UTF-8", where=str(path), help=hint)
    if not proto.HasField("graph") or not proto.opset_import or proto.ir_version < 1:
        raise FormatError(
            "no ONNX model, or one that was cut off: expected ir_version, opset_import and graph",
            where=str(path), help=hint,
        )  # fmt: skip
    return proto, spans


def _is_text(message: Message) -> bool:
    """Whether every string field holds text; protobuf hands out bytes where it does not."""
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        items = (value,) if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING and not all(isinstance(item, str) for item in items):
            return False
        if field.type == field.TYPE_MESSAGE and not all(_is_text(item) for item in items):
            return False
    return True


def _contents(
    path: Path,
    data: memoryview,
    tensor: onnx.TensorProto,
    span: tuple[int, int] | None,
    external: ExternalData,
) -> bytes | memoryview | None:
    """Return contents that are outside the proto, or inside and large; None if small inside."""
    if tensor.data_location == TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        return external.read(tensor.name, entries, byte_size(tensor))
    if span is None:
        small = tensor.ByteSize() <= _INLINE_LIMIT
        return None if small else tensor_bytes(tensor, f"{path}")
    held = data[span[0] : span[1]]
    if len(held) != byte_size(tensor):
        raise ModelError(
            f"contents: expected {byte_size(tensor)} bytes for shape {list(tensor.dims)}, found"
            f" {len(held)}",
            where=f"{path}: initializer '{tensor.name}'", help="export the model again",
        )  # fmt: skip
    return held


def _inline(tensor: onnx.TensorProto, held: bytes | memoryview | None) -> onnx.TensorProto:
    if held is None:
        return tensor
    return TensorProto(
        name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(held)
    )


def _replace_initializers(
    graph: onnx.GraphProto, kept: list[onnx.TensorProto], payloads: Mapping[str, Payload]
) -> None:
    listed = {item.name for item in graph.input}
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    types = {t.name: t.data_type for t in graph.initializer}
    del graph.initializer[:]
    graph.initializer.extend(copies)
    for name, payload in payloads.items():
        if name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(name, types[name], payload.shape))


def _digest(data: memoryview, external: ExternalData) -> str:
    model = sha256_of(data)
    others = external.digests()
    return hashlib.sha256("\n".join((model, *others)).encode()).hexdigest() if others else model
