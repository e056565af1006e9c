"""Our quantizer at an effort: what the benchmarks call in a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from quantable.driver import api, runtime
from quantable.ir import OptionError
from quantable.targets.description import load_target


def work_of_target(tool: str) -> Callable[[Path, Path, Path], None]:
    """Return what quantizes (model, images, folder), and leaves ``quantized.qir`` in the folder.

    Args:
        tool: TARGET/EFFORT, or TARGET@BITS/EFFORT for mixed precision of so many bits on average.
    """
    name, _, effort = tool.partition("/")
    target, _, bits = name.partition("@")
    load_target(target)  # fails before torch is imported
    if bits:
        raise OptionError(
            f"{tool}: the driver's quantize_network has no option for average bits",
            help="leave out the suite 'mixed' with --suites",
        )
    runtime.executor()

    def work(model: Path, images: Path, folder: Path) -> None:
        samples = list(np.load(images, mmap_mode="r"))
        quantized = api.quantize_network(model, samples, target, effort=effort)
        api.save(quantized, folder / "quantized.qir")

    return work
