"""Element types of values, and how their contents are stored."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt


class DType(enum.Enum):
    """An element type.

    The value is the name in the textual IR. Types below 8 bits are stored packed, the element with
    the lower index in the lower bits.
    """

    FLOAT16 = "f16"
    BFLOAT16 = "bf16"
    FLOAT32 = "f32"
    FLOAT64 = "f64"
    FLOAT8E4M3FN = "f8e4m3fn"
    FLOAT8E5M2 = "f8e5m2"
    FLOAT4E2M1 = "f4e2m1"
    INT4 = "i4"
    UINT4 = "u4"
    INT8 = "i8"
    UINT8 = "u8"
    INT16 = "i16"
    UINT16 = "u16"
    INT32 = "i32"
    UINT32 = "u32"
    INT64 = "i64"
    UINT64 = "u64"
    BOOL = "bool"
    STRING = "string"
    FLOAT8E4M3FNUZ = "f8e4m3fnuz"
    FLOAT8E5M2FNUZ = "f8e5m2fnuz"
    FLOAT8E8M0 = "f8e8m0"
    INT2 = "i2"
    UINT2 = "u2"

    @property
    def bits(self) -> int:
        """Width of one stored element in bits."""
        return _BITS[self]

    @property
    def is_float(self) -> bool:
        return self in _FLOATS

    @property
    def is_small_float(self) -> bool:
        """Whether it is a float of at most 8 bits (see `quantable.ir.floats`)."""
        return self in _SMALL_FLOATS

    @property
    def is_packed(self) -> bool:
        """Whether a byte holds several elements in a file."""
        return 0 < self.bits < 8

    @property
    def is_integer(self) -> bool:
        return not self.is_float and self not in (DType.BOOL, DType.STRING)

    @property
    def is_signed(self) -> bool:
        return self.is_float or self.value.startswith("i")

    @property
    def minimum(self) -> int:
        """Smallest integer of this type."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def maximum(self) -> int:
        """Largest integer of this type."""
        return (1 << (self.bits - 1)) - 1 if self.is_signed else (1 << self.bits) - 1

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy type of unpacked elements.

        Types of 2 and 4 bits unpack to 8-bit ones; those that NumPy lacks (bfloat16, small floats)
        are bit patterns.
        """
        return np.dtype(_NUMPY[self])

    @staticmethod
    def of(dtype: npt.DTypeLike) -> DType:
        """Return the element type of a NumPy type."""
        return _FROM_NUMPY[np.dtype(dtype).newbyteorder("=").str]

    @staticmethod
    def holding(quant_min: int, quant_max: int) -> DType:
        """Return the narrowest integer type that holds every integer of a closed range."""
        for dtype in _INTEGERS_BY_WIDTH:
            if dtype.minimum <= quant_min and quant_max <= dtype.maximum:
                return dtype
        raise ValueError(f"no integer type holds [{quant_min}, {quant_max}]")


_SMALL_FLOATS = frozenset({
    DType.FLOAT8E4M3FN, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2, DType.FLOAT8E5M2FNUZ,
    DType.FLOAT8E8M0, DType.FLOAT4E2M1,
})  # fmt: skip
_PATTERNS = _SMALL_FLOATS | {DType.BFLOAT16}
_UNPACKED = frozenset({DType.INT2, DType.UINT2, DType.INT4, DType.UINT4})
_FLOATS = _PATTERNS | {DType.FLOAT16, DType.FLOAT32, DType.FLOAT64}
_BITS = {
    DType.FLOAT16: 16, DType.BFLOAT16: 16, DType.FLOAT32: 32, DType.FLOAT64: 64,
    DType.FLOAT8E4M3FN: 8, DType.FLOAT8E5M2: 8, DType.FLOAT4E2M1: 4,
    DType.INT4: 4, DType.UINT4: 4, DType.INT8: 8, DType.UINT8: 8, DType.INT16: 16,
    DType.UINT16: 16, DType.INT32: 32, DType.UINT32: 32, DType.INT64: 64, DType.UINT64: 64,
    DType.BOOL: 8, DType.STRING: 0, DType.FLOAT8E4M3FNUZ: 8, DType.FLOAT8E5M2FNUZ: 8,
    DType.FLOAT8E8M0: 8, DType.INT2: 2, DType.UINT2: 2,
}  # fmt: skip
_NUMPY = {
    DType.FLOAT16: "<f2", DType.BFLOAT16: "<u2", DType.FLOAT32: "<f4", DType.FLOAT64: "<f8",
    **dict.fromkeys(_SMALL_FLOATS, "|u1"), DType.INT2: "<i1", DType.UINT2: "<u1",
    DType.INT4: "<i1", DType.UINT4: "<u1", DType.INT8: "<i1", DType.UINT8: "<u1",
    DType.INT16: "<i2", DType.UINT16: "<u2", DType.INT32: "<i4", DType.UINT32: "<u4",
    DType.INT64: "<i8", DType.UINT64: "<u8", DType.BOOL: "|b1", DType.STRING: "O",
}  # fmt: skip
_FROM_NUMPY = {
    np.dtype(text).str: dtype
    for dtype, text in _NUMPY.items()
    if dtype not in (*_PATTERNS, *_UNPACKED, DType.STRING)
}
_INTEGERS_BY_WIDTH = (
    DType.INT4, DType.UINT4, DType.INT8, DType.UINT8, DType.INT16, DType.UINT16,
    DType.INT32, DType.UINT32, DType.INT64,
)  # fmt: skip

ONNX_NUMBERS: dict[int, DType] = {
    1: DType.FLOAT32, 2: DType.UINT8, 3: DType.INT8, 4: DType.UINT16, 5: DType.INT16,
    6: DType.INT32, 7: DType.INT64, 8: DType.STRING, 9: DType.BOOL, 10: DType.FLOAT16,
    11: DType.FLOAT64, 12: DType.UINT32, 13: DType.UINT64, 16: DType.BFLOAT16,
    17: DType.FLOAT8E4M3FN, 18: DType.FLOAT8E4M3FNUZ, 19: DType.FLOAT8E5M2,
    20: DType.FLOAT8E5M2FNUZ, 21: DType.UINT4, 22: DType.INT4, 23: DType.FLOAT4E2M1,
    24: DType.FLOAT8E8M0, 25: DType.UINT2, 26: DType.INT2,
}  # fmt: skip
"""Element types by their number in ONNX (TensorProto.DataType), as attributes hold them."""
