"""Tensors of many samples, in memory and on disk."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from quantable.training import storage
from quantable.training.storage import Store, release


@pytest.mark.parametrize("bound", [0, 1 << 24])
@pytest.mark.parametrize("shape", [(7, 3, 5), (7,), (4, 0)])
def test_parts_are_put_in_any_order_by_several_threads(monkeypatch, bound, shape):
    monkeypatch.setattr(storage, "_IN_MEMORY", bound)
    wanted = np.random.default_rng(0).random(shape).astype(np.float32)
    store = Store(shape, np.float32)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: store.put(start, wanted[start : start + 2]), [6, 2, 0, 4]))
    assert np.array_equal(store.filled(), wanted)


def test_parts_that_lie_across_memory_are_put_as_they_read(monkeypatch):
    monkeypatch.setattr(storage, "_IN_MEMORY", 0)
    wanted = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    store = Store((2, 4, 3), np.int64)
    store.put(0, wanted.transpose(0, 2, 1))
    assert np.array_equal(store.filled(), wanted.transpose(0, 2, 1))


def test_a_tensor_on_disk_leaves_no_file_and_comes_back_when_released(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    wanted = np.arange(1 << 16, dtype=np.float32)
    store = Store(wanted.shape, np.float32)
    store.put(0, wanted)
    tensor = store.filled()
    assert isinstance(tensor, np.memmap)
    release(tensor)
    assert np.array_equal(tensor, wanted)
    del tensor, store
    assert list(Path(tmp_path).iterdir()) == []
