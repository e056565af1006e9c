"""Take large tensors out of a serialized ONNX model without parsing (and so copying) them.

A protobuf message is a list of (number, wire type, payload); see
https://protobuf.dev/programming-guides/encoding. Only the three nested messages on the way to an
initializer's contents are walked here; everything else is copied as it is, and onnx parses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quantable.ir import FormatError

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9
_BYTES = 2


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: [start, end) with its tag, [payload, end) without."""

    number: int
    wire_type: int
    start: int
    payload: int
    end: int


def detach_initializers(data: memoryview, limit: int) -> tuple[bytes, list[tuple[int, int] | None]]:
    """Split a serialized model into a small one and the places of its large contents.

    Args:
        data: A serialized ModelProto.
        limit: Contents of up to so many bytes stay inside.

    Returns:
        The model with larger ``raw_data`` left out, and for every initializer, in order, the
        (start, end) of its contents in `data`, or None where they stayed inside.

    Raises:
        FormatError: The bytes are no protobuf message, or end early.
    """
    spans: list[tuple[int, int] | None] = []
    parts: list[bytes] = []
    for item in _fields(data, 0, len(data)):
        if (item.number, item.wire_type) == (_MODEL_GRAPH, _BYTES):
            parts += _message(_MODEL_GRAPH, _graph(data, item, limit, spans))
        else:
            parts.append(bytes(data[item.start : item.end]))
    return b"".join(parts), spans


def _graph(
    data: memoryview, graph: _Field, limit: int, spans: list[tuple[int, int] | None]
) -> list[bytes]:
    parts: list[bytes] = []
    for item in _fields(data, graph.payload, graph.end):
        if (item.number, item.wire_type) != (_GRAPH_INITIALIZER, _BYTES):
            parts.append(bytes(data[item.start : item.end]))
            continue
        raw = _large_raw_data(data, item, limit)
        spans.append(None if raw is None else (raw.payload, raw.end))
        if raw is None:
            parts.append(bytes(data[item.start : item.end]))
        else:
            rest = [bytes(data[item.payload : raw.start]), bytes(data[raw.end : item.end])]
            parts += _message(_GRAPH_INITIALIZER, rest)
    return parts


def _large_raw_data(data: memoryview, tensor: _Field, limit: int) -> _Field | None:
    if tensor.end - tensor.payload <= limit:
        return None
    found = [
        item
        for item in _fields(data, tensor.payload, tensor.end)
        if (item.number, item.wire_type) == (_TENSOR_RAW_DATA, _BYTES)
    ]
    # More than one occurrence is legal protobuf (the last wins) but nobody writes it: onnx may.
    if len(found) == 1 and found[0].end - found[0].payload > limit:
        return found[0]
    return None


def _message(number: int, parts: list[bytes]) -> list[bytes]:
    length = sum(len(part) for part in parts)
    return [_varint_bytes(number << 3 | _BYTES), _varint_bytes(length), *parts]


def _fields(data: memoryview, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        start = position
        tag, position = _varint(data, position, end)
        payload = position
        match tag & 7:
            case 0:
                _, position = _varint(data, position, end)
            case 1:
                position += 8
            case 2:
                length, payload = _varint(data, position, end)
                position = payload + length
            case 5:
                position += 4
            case other:
                raise FormatError(f"no ONNX model: field of unknown wire type {other}")
        if position > end or tag >> 3 == 0:
            raise FormatError(
                f"no ONNX model, or one that was cut off: a field at byte {start} ends at byte "
                f"{position}, expected at most {end}"
            )
        yield _Field(tag >> 3, tag & 7, start, payload, position)


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise FormatError(f"no ONNX model, or one that was cut off at byte {position}")


def _varint_bytes(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
