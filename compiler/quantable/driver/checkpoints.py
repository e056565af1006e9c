"""Where long passes keep the steps that are done: a folder, one file a step."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.files import save_arrays
from quantable.ir import OptionError

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class FolderCheckpoint:
    """A folder of steps (see `quantable.passes.laboratory.Checkpoint`).

    A file is written whole or not at all, and holds a checksum of every array: one that is damaged
    all the same counts as absent, and its step is done again. Remove the folder to start anew;
    a key holds all that a step depends on, so an old file is never taken for another step.

    Attributes:
        folder: Made when it is needed.
    """

    folder: Path

    def load(self, key: str) -> Mapping[str, Array] | None:
        """Return what was kept under a key, None where nothing is (whole)."""
        path = self._path(key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                return dict(held)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key, in one step.

        Raises:
            OptionError: The folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(
                f"cannot be made: {error.strerror}", where=str(self.folder),
                help="--checkpoint names a folder for the steps of long passes",
            ) from error  # fmt: skip
        save_arrays(arrays, self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
