"""Products of windows with weights, as kernels with vectors are told them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.packing import QUAD, Outputs


@dataclass(frozen=True, slots=True)
class Gemm:
    """A product of windows with weights, as the kernel is told it; distances in bytes.

    Attributes:
        images, image: How many, and from one to the next.
        outputs: Output pixels of an image.
        line, pixel: Between the windows of neighbours.
        rows, columns, run: Runs of consecutive bytes in a window.
        row, column: Between them.
        weight: [outputs, runs, run].
    """

    images: int
    image: int
    outputs: Outputs
    line: int
    pixel: int
    rows: int
    columns: int
    run: int
    row: int
    column: int
    weight: npt.NDArray[np.int64]

    def is_joined(self, most: int) -> bool:
        """Return whether the runs of a window are to be copied side by side.

        Args:
            most: Bytes of a window that is copied, at most.
        """
        runs = self.rows * self.columns
        return runs > 1 and self.run % QUAD > 0 and runs * self.run <= most
