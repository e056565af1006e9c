"""TensorProto -> contents: raw bytes, typed fields, and 4-bit types."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx

from quantable.ir import ONNX_NUMBERS, DType, ModelError

DTYPES: dict[int, DType] = {
    number: dtype for number, dtype in ONNX_NUMBERS.items() if dtype is not DType.STRING
}
"""Element types that are imported; text is not."""

_INT32_DATA = (
    DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32, DType.BOOL,
    DType.FLOAT16, DType.BFLOAT16, DType.INT4, DType.UINT4, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2,
    DType.FLOAT4E2M1, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ, DType.FLOAT8E8M0, DType.INT2,
    DType.UINT2,
)  # fmt: skip


def byte_size(tensor: onnx.TensorProto) -> int:
    """Return the number of bytes that the type and shape of a tensor need."""
    elements: int = math.prod(tensor.dims)
    return (elements * DTYPES[tensor.data_type].bits + 7) // 8


def tensor_bytes(tensor: onnx.TensorProto, where: str) -> bytes:
    """Return the contents of an inline tensor in the IR's storage layout.

    ONNX packs elements of 2 and 4 bits as the IR does: the lower index in the lower bits.

    Raises:
        ModelError: There are more or fewer bytes than the shape says.
    """
    data = tensor.raw_data if tensor.HasField("raw_data") else _typed_bytes(tensor)
    expected = byte_size(tensor)
    if len(data) != expected:
        raise ModelError(
            f"contents of '{tensor.name}': expected {expected} bytes for shape"
            f" {list(tensor.dims)}, found {len(data)}",
            where=where, help="export the model again",
        )  # fmt: skip
    return bytes(data)


def _typed_bytes(tensor: onnx.TensorProto) -> bytes:
    dtype = DTYPES[tensor.data_type]
    if dtype is DType.FLOAT32:
        return _bytes_of(tensor.float_data, "<f4")
    if dtype is DType.FLOAT64:
        return _bytes_of(tensor.double_data, "<f8")
    if dtype is DType.INT64:
        return _bytes_of(tensor.int64_data, "<i8")
    if dtype in (DType.UINT32, DType.UINT64):
        return _bytes_of(tensor.uint64_data, dtype.numpy)
    assert dtype in _INT32_DATA
    # Each int32 carries one stored unit: an element, the bits of a 16-bit float, or two nibbles.
    unit = {DType.INT32: "<i4"}.get(dtype, f"<u{max(dtype.bits, 8) // 8}")
    wide = np.fromiter(tensor.int32_data, np.int64, len(tensor.int32_data))
    return wide.astype(unit).tobytes()


def _bytes_of(values: object, dtype: npt.DTypeLike) -> bytes:
    return np.asarray(values, dtype).tobytes()
