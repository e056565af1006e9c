"""The canonical digest of a graph."""

from __future__ import annotations

import enum
import functools
import hashlib
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from quantable.ir.contents import ContentStore
from quantable.ir.graph import Graph, StageRecord

_MEMO = "_digest"
_ENCODED = "_encoded"
"""Where an operation or a row, immutable and most often taken over from graph to graph, keeps its
encoding."""
_FLOAT, _LENGTH = struct.Struct("<d"), struct.Struct("<Q")
Encode = Callable[[Any], bytes]


def graph_digest(graph: Graph) -> str:
    """Return sha256 over everything that the graph is, without its history, store and library.

    Every field is fed in with its type and length, so that no two different graphs feed the same
    bytes; contents go in by their digests. Computed once a graph, which is immutable.
    """
    known = graph.__dict__.get(_MEMO)
    if isinstance(known, str):
        return known
    h = hashlib.sha256(b"quantable graph 1")
    for item in fields(graph):
        if item.name not in ("history", "store", "library"):
            h.update(item.name.encode())
            h.update(_encode(getattr(graph, item.name)))
    digest = h.hexdigest()
    graph.__dict__[_MEMO] = digest
    return digest


def object_digest(value: object) -> str:
    """Return sha256 over a value of a graph: a region, an attribute, a row."""
    return hashlib.sha256(_encode(value)).hexdigest()


def with_history(graph: Graph, history: tuple[StageRecord, ...]) -> Graph:
    """Return the graph with another history; its digest, which has no part in it, is kept."""
    result = replace(graph, history=history)
    if _MEMO in graph.__dict__:
        result.__dict__[_MEMO] = graph.__dict__[_MEMO]
    return result


def _encode(value: object) -> bytes:
    return _ENCODERS[type(value)](value)


def _tagged(tag: bytes, body: bytes) -> bytes:
    return tag + _LENGTH.pack(len(body)) + body


@functools.lru_cache(1 << 14)
def _string(value: str) -> bytes:
    return _tagged(b"s", value.encode())


@functools.lru_cache(1 << 12)
def _integer(value: int) -> bytes:
    return _tagged(b"i", str(value).encode())


def _items(value: Sequence[object]) -> bytes:
    # Rows hold thousands of scales and zero points: spare them the choice of an encoder.
    kinds = set(map(type, value))
    if kinds == {float}:
        body = b"".join([b"f" + _FLOAT.pack(item) for item in value])
    else:
        body = b"".join([_ENCODERS[type(item)](item) for item in value])
    return _tagged(b"t", body)


def _mapping(value: Mapping[Any, object]) -> bytes:
    return _tagged(b"m", b"".join([_encode(k) + _encode(v) for k, v in sorted(value.items())]))


def _dataclass(kind: type) -> Encode:
    """Return what encodes the instances of a dataclass, which keep it where they have room."""
    names = [field.name for field in fields(kind) if not field.metadata.get("added_later")]
    later = [field for field in fields(kind) if field.metadata.get("added_later")]
    held: Callable[[object], tuple[object, ...]] = operator.attrgetter(*names)
    head = kind.__name__.encode() + b":"

    def encode(value: object) -> bytes:
        values = held(value) if len(names) > 1 else (held(value),)
        body = b"".join([_ENCODERS[type(item)](item) for item in values])
        for field in later:  # digests in files are from before there was one
            if getattr(value, field.name) != field.default:
                body += _string(field.name) + _encode(getattr(value, field.name))
        return _tagged(b"d", head + body)

    def remembered(value: object) -> bytes:
        memo = value.__dict__
        if _ENCODED not in memo:
            memo[_ENCODED] = encode(value)
        known: bytes = memo[_ENCODED]
        return known

    return encode if "__slots__" in kind.__dict__ else remembered


def _encoder(kind: type) -> Encode:
    """Return what encodes the values of a type."""
    if issubclass(kind, enum.Enum):
        return {member: _tagged(b"e", str(member.value).encode()) for member in kind}.__getitem__
    for base, encode in _BASES.items():
        if issubclass(kind, base):
            return encode
    if is_dataclass(kind) and not issubclass(kind, ContentStore):
        return _dataclass(kind)
    raise TypeError(f"cannot hash {kind.__name__}")


class _Encoders(dict[type, Encode]):
    """Encoders by type, found when a type is first met."""

    def __missing__(self, kind: type) -> Encode:
        self[kind] = _encoder(kind)
        return self[kind]


_BASES: dict[type, Encode] = {
    str: _string,
    tuple: _items,
    list: _items,
    type(None): lambda _: b"n",
    bool: lambda value: b"b1" if value else b"b0",
    int: _integer,
    float: lambda value: b"f" + _FLOAT.pack(value),
    Mapping: _mapping,
}
"""By base class, the first one that fits."""
_ENCODERS = _Encoders()
