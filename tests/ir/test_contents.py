"""The content store, element types, and how they are packed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import ContentRef, ContentStore, DType, InternalError
from quantable.ir.numerics import pack, unpack

PLAIN = [d for d in DType if not d.is_packed and d is not DType.STRING]
PATTERNS = [d for d in DType if d.is_small_float or d is DType.BFLOAT16]
"""Held as unsigned integers, which are what their NumPy type is."""


def test_int4_has_the_lower_index_in_the_lower_bits() -> None:
    data = pack(np.asarray([1, -2, 7]), DType.INT4)
    assert data == bytes([0xE1, 0x07])
    assert unpack(data, DType.INT4, (3,)).tolist() == [1, -2, 7]


def _patterns(dtype: DType) -> st.SearchStrategy[int]:
    return (
        st.integers(0, (1 << dtype.bits) - 1)
        if dtype.is_float
        else st.integers(dtype.minimum, dtype.maximum)
    )


def test_int2_has_the_lower_index_in_the_lower_bits() -> None:
    data = pack(np.asarray([1, -2, 0, -1, 1]), DType.INT2)
    assert data == bytes([0b11_00_10_01, 0b01])
    assert unpack(data, DType.INT2, (5,)).tolist() == [1, -2, 0, -1, 1]


@given(st.sampled_from([d for d in DType if d.is_packed]), st.data())
def test_packed_types_round_trip(dtype: DType, data: st.DataObject) -> None:
    values = data.draw(st.lists(_patterns(dtype)))
    packed = pack(np.asarray(values, np.int64), dtype)
    assert len(packed) == (len(values) * dtype.bits + 7) // 8
    assert unpack(packed, dtype, (len(values),)).tolist() == values


@pytest.mark.parametrize("dtype", PLAIN)
def test_other_types_are_little_endian_in_c_order(dtype: DType) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype.numpy)
    store = ContentStore()
    ref = store.put(array.T, dtype)
    assert ref.shape == (3, 2)
    assert bytes(store.raw(ref.digest)) == np.ascontiguousarray(array.T).tobytes()
    assert np.array_equal(store.get(ref), array.T)


@pytest.mark.parametrize("dtype", [d for d in PLAIN if d not in PATTERNS])
def test_numpy_types_have_one_element_type(dtype: DType) -> None:
    assert DType.of(dtype.numpy) is dtype
    assert DType.of(dtype.numpy.newbyteorder(">")) is dtype


def test_the_digest_is_the_sha256_of_the_stored_bytes() -> None:
    store = ContentStore()
    ref = store.put(np.asarray([1, 2], np.int16))
    assert ref.digest == hashlib.sha256(b"\x01\0\x02\0").hexdigest()
    assert ref.size_bytes == 4


def test_arrays_are_read_only() -> None:
    store = ContentStore()
    for dtype in (DType.FLOAT32, DType.INT4):
        array = store.get(store.put(np.zeros(3), dtype))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_bytes_of_a_wrong_size_are_refused() -> None:
    with pytest.raises(InternalError, match="expected 8 bytes"):
        ContentStore().put_bytes(b"1234", DType.FLOAT32, (2,))


def test_a_view_of_numbers_is_taken_as_bytes() -> None:
    store = ContentStore()
    view = memoryview(np.arange(4, dtype=np.float32).reshape(2, 2))
    ref = store.put_bytes(view, DType.FLOAT32, (2, 2))
    assert ref == store.put(np.arange(4, dtype=np.float32).reshape(2, 2))
    assert store.raw(ref.digest).nbytes == 16
    assert store.put_bytes(memoryview(np.empty((0, 2), np.float32)), DType.FLOAT32, (0, 2))


def test_a_loader_is_called_once_and_only_when_needed() -> None:
    store, calls = ContentStore(), []
    ref = ContentRef(hashlib.sha256(b"ab").hexdigest(), DType.UINT8, (2,))

    def load() -> bytes:
        calls.append(1)
        return b"ab"

    store.put_loader(ref.digest, load)
    assert ref.digest in store
    assert not calls
    assert store.get(ref).tolist() == store.get(ref).tolist() == [97, 98]
    assert len(calls) == 1


def test_unknown_digests_are_key_errors() -> None:
    with pytest.raises(KeyError):
        ContentStore().raw("0" * 64)
