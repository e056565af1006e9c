"""The canonical digest of a graph."""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

from quantable.ir.contents import ContentStore
from quantable.ir.graph import Graph, StageRecord

_MEMO = "_digest"
_ENCODED = "_encoded"
"""Where an operation or a row, immutable and most often taken over from graph to graph, keeps its
encoding."""
_FLOAT = struct.Struct("<d")


def graph_digest(graph: Graph) -> str:
    """Return sha256 over everything that the graph is, without its history and store.

    Every field is fed in with its type and length, so that no two different graphs feed the same
    bytes; contents go in by their digests. Computed once a graph, which is immutable.
    """
    known = graph.__dict__.get(_MEMO)
    if isinstance(known, str):
        return known
    h = hashlib.sha256(b"quantable graph 1")
    for item in fields(graph):
        if item.name not in ("history", "store"):
            h.update(item.name.encode())
            h.update(_encode(getattr(graph, item.name)))
    digest = h.hexdigest()
    graph.__dict__[_MEMO] = digest
    return digest


def with_history(graph: Graph, history: tuple[StageRecord, ...]) -> Graph:
    """Return the graph with another history; its digest, which has no part in it, is kept."""
    result = replace(graph, history=history)
    if _MEMO in graph.__dict__:
        result.__dict__[_MEMO] = graph.__dict__[_MEMO]
    return result


def _encode(value: object) -> bytes:
    if isinstance(value, str):
        return _tagged(b"s", value.encode())
    if isinstance(value, (tuple, list)):
        return _tagged(b"t", _encode_items(value))
    if value is None:
        return b"n"
    if isinstance(value, enum.Enum):
        return _tagged(b"e", str(value.value).encode())
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, int):
        return _tagged(b"i", str(value).encode())
    if isinstance(value, float):
        return b"f" + _FLOAT.pack(value)
    if isinstance(value, Mapping):
        items = sorted(value.items())
        return _tagged(b"m", b"".join(_encode(k) + _encode(v) for k, v in items))
    if is_dataclass(value) and not isinstance(value, (type, ContentStore)):
        memo = getattr(value, "__dict__", {})
        if _ENCODED not in memo:
            body = b"".join([_encode(getattr(value, f.name)) for f in fields(value)])
            memo[_ENCODED] = _tagged(b"d", type(value).__name__.encode() + b":" + body)
        encoded: bytes = memo[_ENCODED]
        return encoded
    raise TypeError(f"cannot hash {type(value).__name__}")


def _encode_items(items: tuple[object, ...] | list[object]) -> bytes:
    # Rows hold thousands of scales and zero points: spare them the tests of every other type.
    kinds = {type(item) for item in items}
    if kinds == {float}:
        return b"".join([b"f" + _FLOAT.pack(item) for item in items])
    if kinds == {int}:
        return b"".join([_tagged(b"i", str(item).encode()) for item in items])
    return b"".join([_encode(item) for item in items])


def _tagged(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("<Q", len(body)) + body
