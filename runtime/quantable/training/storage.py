"""Tensors of many samples: in memory while they are small, on disk from then on."""

from __future__ import annotations

import mmap
import tempfile

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
_IN_MEMORY = 1 << 24
"""Bytes up to which a tensor stays in memory."""


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return a tensor to be filled; its file goes away with the last reference to it."""
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize <= _IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="quantable-") as file:
        held: Array = np.memmap(file, dtype, "w+", shape=shape)
    return held


def release(array: Array) -> None:
    """Let go of the memory that shows a tensor on disk; reading it again brings it back."""
    base: object = array
    while base is not None:
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
            return
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
