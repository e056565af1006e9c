"""Conversions between NumPy arrays, element types of the IR and torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import ONNX_NUMBERS, DType, UnsupportedError

Array = npt.NDArray[np.generic]

TORCH_TYPES: dict[DType, torch.dtype] = {
    DType.FLOAT16: torch.float16, DType.BFLOAT16: torch.bfloat16, DType.FLOAT32: torch.float32,
    DType.FLOAT64: torch.float64, DType.INT4: torch.int8, DType.UINT4: torch.uint8,
    DType.INT8: torch.int8, DType.UINT8: torch.uint8, DType.INT16: torch.int16,
    DType.UINT16: torch.uint16, DType.INT32: torch.int32, DType.UINT32: torch.uint32,
    DType.INT64: torch.int64, DType.UINT64: torch.uint64, DType.BOOL: torch.bool,
    DType.FLOAT8E4M3FN: torch.float8_e4m3fn, DType.FLOAT8E5M2: torch.float8_e5m2,
    DType.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz, DType.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    DType.FLOAT8E8M0: torch.float8_e8m0fnu, DType.FLOAT4E2M1: torch.uint8,
    DType.INT2: torch.int8, DType.UINT2: torch.uint8,
}  # fmt: skip
"""The torch type that holds the unpacked elements of each type, 4-bit floats as bit patterns;
strings have none."""

_PATTERNS: dict[DType | None, torch.dtype] = {
    dtype: TORCH_TYPES[dtype]
    for dtype in (
        DType.BFLOAT16, DType.FLOAT8E4M3FN, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2,
        DType.FLOAT8E5M2FNUZ, DType.FLOAT8E8M0,
    )
}  # fmt: skip
_MOVED_AS = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
    **{held: torch.uint8 for held in _PATTERNS.values() if held.itemsize == 1},
}


IR_TYPES: dict[torch.dtype, DType] = {
    held: dtype
    for dtype, held in TORCH_TYPES.items()
    if not dtype.is_packed
}  # fmt: skip
"""The element type that a torch type stands for where nothing says otherwise."""


class _Writable:
    """Shows the memory of a read-only array as writable, which torch demands of what it wraps."""

    def __init__(self, array: Array) -> None:
        self._base = array  # keeps the memory alive
        interface: dict[str, Any] = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def torch_type(dtype: DType) -> torch.dtype:
    """Return the torch type that holds elements of a type.

    Raises:
        UnsupportedError: No tensor holds strings.
    """
    if dtype not in TORCH_TYPES:
        raise UnsupportedError(f"the reference runtime has no tensors of type {dtype.value}")
    return TORCH_TYPES[dtype]


def number_type(number: int, where: str = "") -> DType:
    """Return the element type of an ONNX type number.

    Raises:
        UnsupportedError: The number stands for a type that the runtime does not hold.
    """
    if ONNX_NUMBERS.get(number) not in TORCH_TYPES:
        raise UnsupportedError(f"ONNX element type {number} is not supported", where=where)
    return ONNX_NUMBERS[number]


def onnx_type(number: int, where: str = "") -> torch.dtype:
    """Return the torch type of an ONNX type number; see `number_type`."""
    return TORCH_TYPES[number_type(number, where)]


def to_tensor(array: Array, dtype: DType | None = None) -> Tensor:
    """Return a tensor over the memory of an array where possible; it must not be written to.

    Args:
        array: The elements, 4-bit types unpacked, bfloat16 and small floats as bit patterns.
        dtype: The element type, where NumPy's does not tell.
    """
    native = np.asarray(array, array.dtype.newbyteorder("="))
    if not native.flags.c_contiguous:
        native = np.ascontiguousarray(native)
    if not native.flags.writeable:
        native = np.asarray(_Writable(native)) if native.size else native.copy()
    tensor = torch.from_numpy(native)
    return tensor.view(_PATTERNS[dtype]) if dtype in _PATTERNS else tensor


def to_array(tensor: Tensor) -> Array:
    """Return the elements as an array (bfloat16 and small floats as bit patterns)."""
    if tensor.dtype in _PATTERNS.values():
        tensor = tensor.view(torch.uint16 if tensor.itemsize == 2 else torch.uint8)
    array: Array = tensor.contiguous().numpy()
    return array


def signed_view(tensor: Tensor) -> Tensor:
    """Return a tensor torch can move: types it lacks seen as others of their width, bit for bit."""
    twin = _MOVED_AS.get(tensor.dtype)
    return tensor if twin is None else tensor.view(twin)
