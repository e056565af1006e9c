"""Tensors of many samples: in memory while they are small, on disk from then on."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import IO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
_IN_MEMORY = 1 << 24
"""Bytes up to which a tensor stays in memory."""


class Store:
    """A tensor that is filled part by part, by several threads if need be.

    Parts are written into the file of one on disk, not into the memory that shows it: that would
    be brought in page by page.

    Args:
        shape, dtype: Of the whole tensor.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._file: IO[bytes] | None = None
        self.dtype, self._part = np.dtype(dtype), math.prod(shape[1:])
        if math.prod(shape) * self.dtype.itemsize <= _IN_MEMORY:
            self.tensor: Array = np.empty(shape, dtype)
        else:
            self._file = tempfile.TemporaryFile(prefix="quantable-")  # noqa: SIM115
            self.tensor = np.memmap(self._file, dtype, "w+", shape=shape)

    def put(self, start: int, part: Array) -> None:
        """Fill the entries from `start` on, [n, ...]."""
        if self._file is None:
            self.tensor[start : start + len(part)] = part
            return
        held = np.ascontiguousarray(part, self.dtype).reshape(-1).view(np.uint8).data
        place = start * self._part * self.dtype.itemsize
        while held:
            written = os.pwrite(self._file.fileno(), held, place)
            held, place = held[written:], place + written

    def filled(self) -> Array:
        """Return the tensor; its file goes away with the last reference to it."""
        if self._file is not None:
            self._file.close()
        return self.tensor


def release(array: Array) -> None:
    """Let go of the memory that shows a tensor on disk; reading it again brings it back."""
    base: object = array
    while base is not None:
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
            return
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
