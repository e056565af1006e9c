"""Results of steps of long work in a folder, so that a stopped command goes on where it was.

One file a step, under the digest of its key, which takes its place by one rename: a file that is
there is whole. Keys must name everything that a result depends on; a folder may serve many runs.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.emission import prepare_folder
from quantable.driver.files import save_arrays

Array = npt.NDArray[np.generic]


class FolderCheckpoint:
    """Keeps arrays in a folder (see `quantable.passes.laboratory.Checkpoint`).

    Args:
        folder: Made where it is not there.

    Raises:
        OptionError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        prepare_folder(folder)
        self._folder = folder

    def load(self, key: str) -> Mapping[str, Array] | None:
        """Return what was kept under a key, None where nothing is, or what is there is damaged."""
        try:
            with np.load(self._path(key), allow_pickle=False) as held:
                return dict(held.items())
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key, in one step."""
        save_arrays(arrays, self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"


class MemoryCheckpoint:
    """Keeps arrays for as long as the process runs."""

    def __init__(self) -> None:
        self._held: dict[str, Mapping[str, Array]] = {}

    def load(self, key: str) -> Mapping[str, Array] | None:
        """Return what was kept under a key, None where nothing is."""
        return self._held.get(key)

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key."""
        self._held[key] = arrays
