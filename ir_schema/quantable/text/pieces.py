"""Take apart the tokens that hold more than a word: types, operands, slots, lists of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.ir import floats
from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import DType
from quantable.ir.quantization import Relation, TensorQuantizationConfig
from quantable.ir.states import State
from quantable.ir.values import Container, Shape
from quantable.text.spelling import (
    BadPiece,
    integer_of,
    name_of,
    nearest,
    real_of,
    unquoted,
    word_of,
)

MAX_RANK = 32
MAX_ELEMENTS = 1 << 56
MAX_DIM = (1 << 63) - 1
_STRING = r'"(?:[^"\\\n]|\\[^\n])*"'
_NAME = rf"(?:[A-Za-z0-9_./$-]+|{_STRING})"
_DIM = re.compile(rf"\s*(\*|[+-]?\d+|[A-Za-z_][A-Za-z0-9_.-]*|{_STRING})\s*(,|$)", re.ASCII)
_OPERAND = re.compile(rf"\s*([%@]{_NAME}|_(?![A-Za-z0-9_.-]))\s*(,|$)", re.ASCII)
_SLOT = re.compile(
    r"(?P<state>[A-Za-z][A-Za-z0-9-]*)(?:\s+suspended\s+(?P<suspended>[A-Za-z][A-Za-z0-9-]*))?"
    rf"(?:\s+(?P<relation>[a-z]+)\s+(?P<row>#{_NAME}))?(?:\s+(?P<scheme>![A-Za-z0-9_.-]+))?\s*",
    re.ASCII,
)
_ITEM = re.compile(rf"(?:^|(?<=,))(?:[^,\"]|{_STRING})*")
_ONE_STRING = re.compile(_STRING).fullmatch
_ONE_ROW = re.compile(rf"#{_NAME}").fullmatch
_ONE_OPERATION = re.compile(rf"@{_NAME}").fullmatch
_WORDS = re.compile(r"\S+")
_DTYPES = {dtype.value: dtype for dtype in DType}
_CONTAINERS = {container.value: container for container in Container}
ValueType = tuple[DType, Shape | None, Container]
_STATES = {state.value: state for state in State}
_RELATIONS = {relation.value: relation for relation in Relation}


def member(table: Mapping[str, Any], word: str, what: str, offset: int = 0) -> Any:
    """Return what a word names.

    Raises:
        BadPiece: It names nothing.
    """
    found = table.get(word)
    if found is None:
        near = nearest(word, table) or f"known: {', '.join(sorted(table)[:20])}"
        raise BadPiece(f"unknown {what} '{word[:40]}'", offset, len(word), near)
    return found


def value_type_of(text: str) -> ValueType:
    """Return the type that `f32[N, 3]` or `sequence.f32[N, 3]` is."""
    head, dot, _ = text[: text.index("[")].rpartition(".")
    if not dot:
        return (*type_of(text), Container.TENSOR)
    container: Container = member(_CONTAINERS, head, "container")
    return (*type_of(text, len(head) + 1), container)


def type_of(text: str, start: int = 0) -> tuple[DType, Shape | None]:
    """Return the type of tensors that `f32[N, 3]` is; no shape where the rank is unknown: `f32[*]`.

    Args:
        text: The text; only what lies behind `start` is looked at.
    """
    open_ = text.index("[")
    dtype: DType = member(_DTYPES, text[start:open_], "element type", start)
    body = text[: len(text) - 1]
    dims: list[int | str] = []
    at = open_ + 1
    if not body[at:].strip():
        return dtype, ()
    while True:
        match = _DIM.match(body, at)
        if match is None:
            rest = body[at:]
            start = at + len(rest) - len(rest.lstrip())
            raise BadPiece(
                "expected a number, the name of a symbol or '*'", start,
                max(1, len(rest.split(",")[0].strip())),
            )  # fmt: skip
        word = match[1]
        if word == "*":
            if dims or match[2]:
                raise BadPiece("'*' stands alone: the rank is unknown", match.start(1))
            return dtype, None
        is_number = word[0].isdigit() or word[0] in "+-"
        dim = (
            integer_of(word, 0, MAX_DIM, match.start(1))
            if is_number
            else word_of(word, match.start(1))
        )
        if dim == "":
            raise BadPiece("a symbol has a name", match.start(1), len(word))
        dims.append(dim)
        at = match.end()
        if not match[2]:
            break
    if len(dims) > MAX_RANK:
        raise BadPiece(f"expected at most {MAX_RANK} dimensions, found {len(dims)}", 0, len(text))
    return dtype, tuple(dims)


def operands_of(text: str) -> list[tuple[str, int, int]]:
    """Return (spelled name, offset, length) of every operand of `(%x, @w, _)`."""
    body, at = text[: len(text) - 1], 1
    found: list[tuple[str, int, int]] = []
    if not body[1:].strip():
        return found
    while True:
        match = _OPERAND.match(body, at)
        if match is None:
            rest = _WORDS.search(text, at)
            start = rest.start() if rest else at
            word = text[start:].rstrip("),").split(",")[0][:40]
            shown = f", found '{word.strip()}'" if word.strip() else ""
            raise BadPiece(
                f"expected a name such as %x or @w, or '_'{shown}", start, max(1, len(word)),
                "values have the sigil %, parameters @",
            )  # fmt: skip
        found.append((match[1], match.start(1), len(match[1])))
        at = match.end()
        if not match[2]:
            return found


def slot_of(
    text: str, schemes: Mapping[str, TensorQuantizationConfig]
) -> tuple[TensorQuantizationConfig, int, int]:
    """Return the config of a slot, and offset and length of its row's name (0: it has none)."""
    match = _SLOT.match(text)
    if match is None or match.end() != len(text):
        at = match.end() if match else 0
        word = (text[at:].split() or [""])[0][:40]
        if word in _RELATIONS:
            raise BadPiece(f"expected a row such as #a behind '{word}'", at, len(word))
        expected = "'suspended STATE', 'RELATION #row', '!scheme', ',' or ']'" if at else "a state"
        raise BadPiece(
            f"expected {expected}, found '{word}'", at, max(1, len(word)),
            nearest(word, ("suspended", *_RELATIONS)),
        )  # fmt: skip
    state = member(_STATES, match["state"], "state")
    suspended = match["suspended"]
    relation = match["relation"]
    scheme = match["scheme"]
    base = TensorQuantizationConfig()
    if scheme:
        base = member(schemes, scheme, "scheme", match.start("scheme"))
    held = replace(
        base,
        state=state,
        suspended=member(_STATES, suspended, "state", match.start("suspended"))
        if suspended
        else None,
        relation=member(_RELATIONS, relation, "relation", match.start("relation"))
        if relation
        else Relation.NONE,
        row=name_of(match["row"], match.start("row")) if relation else "",
    )
    return held, max(0, match.start("row")), len(match["row"] or "")


def list_of(text: str) -> list[tuple[str, int]]:
    """Return (spelling, offset) of the items of `[1, 2]`; a comma in a string separates nothing."""
    body = text[1:-1]
    if not body.strip():
        return []
    parts = _ITEM.findall(body) if '"' in body else body.split(",")
    found, at = [], 1
    for part in parts:
        item = part.strip()
        found.append((item, at + len(part) - len(part.lstrip())))
        at += len(part) + 1
    return found


def string_of(text: str, offset: int = 0) -> str:
    """Return the text of a string."""
    if not _ONE_STRING(text):
        raise BadPiece(f"expected a string in \"\", found '{text[:40]}'", offset, max(1, len(text)))
    return unquoted(text, offset)


def row_of(text: str, offset: int = 0) -> str:
    """Return the name of a row."""
    if not _ONE_ROW(text):
        raise BadPiece(f"expected a row such as #a, found '{text[:40]}'", offset, max(1, len(text)))
    return name_of(text, offset)


def operation_of(text: str, offset: int = 0) -> str:
    """Return the name of an operation."""
    if not _ONE_OPERATION(text):
        raise BadPiece(
            f"expected an operation such as @conv, found '{text[:40]}'", offset, max(1, len(text))
        )
    return name_of(text, offset)


def contents_of(type_text: str, payload: str, store: ContentStore) -> ContentRef:
    """Return the contents that `dense TYPE PAYLOAD` is; elements go to the store.

    Raises:
        BadPiece: Its offset counts from the type, or, where `payload` is at fault, from
            ``len(type_text)`` plus the offset in the payload.
    """
    dtype, dims = type_of(type_text)
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        raise BadPiece("contents have a known shape", 0, len(type_text))
    shape = tuple(int(dim) for dim in dims)
    if dtype is DType.STRING:
        raise BadPiece("contents are no strings", 0, len(type_text))
    if math.prod(dim for dim in shape if dim) > MAX_ELEMENTS:
        raise BadPiece("contents are too large", 0, len(type_text))
    if not payload.startswith("["):
        return ContentRef(payload.removeprefix("sha256:"), dtype, shape)
    items = list_of(payload)
    base = len(type_text)
    if len(items) != math.prod(shape):
        raise BadPiece(
            f"expected {math.prod(shape)} elements for {type_text}, found {len(items)}",
            base, len(payload),
        )  # fmt: skip
    if dtype.is_integer:
        values = [integer_of(item, dtype.minimum, dtype.maximum, base + at) for item, at in items]
        return store.put(np.asarray(values, dtype.numpy).reshape(shape), dtype)
    if dtype is DType.BOOL:
        table = {"true": 1, "false": 0}
        bits = [_truth(table, item, base + at) for item, at in items]
        return store.put(np.asarray(bits, np.bool_).reshape(shape), dtype)
    return store.put(_reals(items, dtype, base).reshape(shape), dtype)


def _truth(table: Mapping[str, int], item: str, offset: int) -> int:
    if item not in table:
        raise BadPiece(f"expected true or false, found '{item[:40]}'", offset, max(1, len(item)))
    return table[item]


def _small_floats(
    items: Sequence[tuple[str, int]], values: list[float], dtype: DType, base: int
) -> npt.NDArray[Any]:
    """Return the bit patterns of elements rounded to a small float type."""
    table = floats.numbers(dtype)
    largest = float(table[np.isfinite(table)].max())
    special = {"nan": np.isnan(table), "inf": table == np.inf, "-inf": table == -np.inf}
    codes = np.zeros(len(values), np.uint8)
    for place, ((item, at), value) in enumerate(zip(items, values, strict=True)):
        if math.isfinite(value):
            codes[place] = floats.encode(np.asarray([value]), dtype)[0]
            if abs(value) > largest or (value <= 0 and not floats.has_sign(dtype)):
                raise BadPiece(f"{item[:40]} is beyond {dtype.value}", base + at, len(item))
            continue
        found = np.flatnonzero(special[str(value)])
        if not found.size:
            raise BadPiece(f"{dtype.value} has no {item[:40]}", base + at, len(item))
        codes[place] = found[1 if dtype is DType.FLOAT8E5M2 and math.isnan(value) else 0]
    return codes


def _reals(items: Sequence[tuple[str, int]], dtype: DType, base: int) -> npt.NDArray[Any]:
    """Return elements rounded to a floating type; bfloat16 as its 16 bits."""
    values = []
    for item, at in items:
        if item.startswith("nan:"):
            raise BadPiece("a NaN of other bits is named by digest", base + at, len(item))
        values.append(real_of(item, base + at))
    if floats.is_small_float(dtype):
        return _small_floats(items, values, dtype, base)
    wide = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32 if dtype is DType.BFLOAT16 else dtype.numpy)
    if dtype is DType.BFLOAT16:
        bits = narrow.view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # round half to even
        narrow = np.where(np.isnan(narrow), 0x7FC0, rounded).astype(np.uint16)
        finite = np.isfinite((narrow.astype(np.uint32) << 16).view(np.float32))
    else:
        finite = np.isfinite(narrow)
    for (item, at), kept, value in zip(items, finite, wide, strict=True):
        if math.isfinite(value) and not kept:
            raise BadPiece(f"{item[:40]} is beyond {dtype.value}", base + at, len(item))
    return narrow
