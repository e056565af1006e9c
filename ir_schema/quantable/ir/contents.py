"""Contents of parameters, addressed by digest: equal contents are held and stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import numerics
from quantable.ir.dtypes import DType
from quantable.ir.errors import InternalError

Array = npt.NDArray[np.generic]
Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class ContentRef:
    """A reference to the contents of a parameter.

    Attributes:
        digest: sha256 of the stored bytes, hexadecimal.
        dtype: Element type.
        shape: Dimensions, all known.
    """

    digest: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Number of stored bytes."""
        return (self.element_count * self.dtype.bits + 7) // 8

    @property
    def element_count(self) -> int:
        count = 1
        for dim in self.shape:
            count *= dim
        return count


class ContentStore:
    """An append-only map from digest to bytes, shared by all versions of a graph.

    Bytes may be views of memory-mapped files; nothing is copied until it is read.
    """

    def __init__(self) -> None:
        self._segments: dict[str, Buffer | Callable[[], Buffer]] = {}

    def put(self, values: npt.ArrayLike, dtype: DType | None = None) -> ContentRef:
        """Store an array and return its reference.

        Args:
            values: The elements; for a 4-bit type the unpacked ones.
            dtype: The element type; by default that of `values`.
        """
        array = np.asarray(values)
        kind = dtype or DType.of(array.dtype)
        return self.put_bytes(numerics.pack(array, kind), kind, tuple(array.shape))

    def put_bytes(self, data: Buffer, dtype: DType, shape: tuple[int, ...]) -> ContentRef:
        """Store bytes as they are (perhaps a view of a mapped file) and return the reference.

        The buffer is contiguous, and nobody may change it afterwards.
        """
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else memoryview(b"")
        ref = ContentRef(hashlib.sha256(view).hexdigest(), dtype, shape)
        if len(view) != ref.size_bytes:
            raise InternalError(f"expected {ref.size_bytes} bytes for {ref}, found {len(view)}")
        self._segments.setdefault(ref.digest, view)
        return ref

    def put_loader(self, digest: str, load: Callable[[], Buffer]) -> None:
        """Register bytes that `load` returns, checked, when they are first asked for."""
        self._segments.setdefault(digest, load)

    def raw(self, digest: str) -> memoryview:
        """Return the stored bytes.

        Raises:
            KeyError: The store does not hold the digest.
        """
        held = self._segments[digest]
        if not isinstance(held, (bytes, memoryview)):
            held = held()
            self._segments[digest] = held
        return memoryview(held)

    def get(self, ref: ContentRef) -> Array:
        """Return the contents as a read-only array (4-bit types unpacked)."""
        array = numerics.unpack(self.raw(ref.digest), ref.dtype, ref.shape)
        array.flags.writeable = False
        return array

    def __contains__(self, digest: str) -> bool:
        return digest in self._segments

    def __iter__(self) -> Iterator[str]:
        return iter(self._segments)
