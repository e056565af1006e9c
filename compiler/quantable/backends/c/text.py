"""Names and numbers as C text. Nothing that a network says gets into the code any other way."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from quantable.ir import DType

_PREFIX_LENGTH = 40
_RESERVED = re.compile(r"q|q_.*|quantable.*")
_PLAIN = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.,:;+=-#@()[]<>/"
)
"""Characters that are harmless in comments and in strings: no quote, backslash, star, '?' (it makes
trigraphs) or control character. Without a star, '/' neither opens nor ends a comment."""

C_TYPES = {
    DType.INT8: "int8_t", DType.UINT8: "uint8_t", DType.INT16: "int16_t",
    DType.UINT16: "uint16_t", DType.INT32: "int32_t", DType.UINT32: "uint32_t",
    DType.INT64: "int64_t", DType.UINT64: "uint64_t", DType.FLOAT32: "float",
    DType.INT4: "int8_t", DType.UINT4: "uint8_t",
}  # fmt: skip
"""The C type of an element; 4-bit values are unpacked."""

MINIMA = {
    DType.INT8: "INT8_MIN", DType.UINT8: "0", DType.INT16: "INT16_MIN", DType.UINT16: "0",
}  # fmt: skip


def prefix(name: str) -> str:
    """Return a C identifier made of a network's name, for symbols to begin with."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower(), flags=re.ASCII).strip("_")
    words = words[:_PREFIX_LENGTH].strip("_")
    if not words or words[0].isdigit() or _RESERVED.fullmatch(words):
        words = f"model_{words}".strip("_")
    return words


def comment(name: str) -> str:
    """Return a name for a comment or for prose: readable, ASCII, unable to end either."""
    return "".join(c if c in _PLAIN else f"\\u{{{ord(c):x}}}" for c in name)


def string_literal(text: str) -> str:
    """Return a C string literal that holds the UTF-8 of a text."""
    plain = (chr(b) if chr(b) in _PLAIN else f"\\{b:03o}" for b in text.encode("utf-8"))
    return '"' + "".join(plain) + '"'


def number(value: float) -> str:
    """Return a float32 constant, exact."""
    return float(np.float32(value)).hex() + "f"


def decimal(value: float) -> str:
    """Return a float32 constant that C++ reads as well: its shortest decimal form."""
    text = str(np.float32(value))
    return (text if any(c in text for c in ".e") else text + ".0") + "f"


def integer(value: int) -> str:
    """Return an integer constant."""
    return "INT64_MIN" if value == DType.INT64.minimum else str(int(value))


def braces(items: Iterable[int]) -> str:
    """Return an initializer of integers."""
    return "{" + ", ".join(str(int(item)) for item in items) + "}"


def shape_text(shape: Iterable[object]) -> str:
    """Return a shape as 1x32x32x3."""
    return "x".join(str(dim) for dim in shape) or "scalar"


def array_lines(values: npt.NDArray[np.generic], width: int = 20) -> list[str]:
    """Return the elements of an array as lines of C constants."""
    flat = values.reshape(-1)
    if flat.dtype == np.float32:
        words = [number(v) for v in flat.tolist()]
        width = 5
    elif flat.dtype.itemsize == 1:
        table = {v: str(v) for v in range(-128, 256)}
        words = [table[v] for v in flat.tolist()]
    else:
        suffix = "u" if flat.dtype.kind == "u" else ""
        words = [integer(v) + suffix for v in flat.tolist()]
        width = 10
    return ["  " + ", ".join(words[i : i + width]) + "," for i in range(0, len(words), width)]


def string_lines(values: npt.NDArray[np.generic], width: int = 64) -> list[str]:
    """Return the bytes of an array as lines of string literals, which compilers read fast.

    The array that they initialize has a size, so that no zero is added behind them.
    """
    data = np.ascontiguousarray(values).tobytes()
    words = [chr(b) if chr(b) in _PLAIN else f"\\{b:03o}" for b in range(256)]
    return [
        '  "' + "".join([words[b] for b in data[i : i + width]]) + '"'
        for i in range(0, len(data), width)
    ]
