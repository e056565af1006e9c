"""Our quantizer at an effort: what the benchmarks call in a fresh process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from quantable.driver import api, runtime
from quantable.driver.data import Array
from quantable.ir import Graph, OptionError
from quantable.targets.description import load_target


def work_of_target(tool: str) -> Callable[[Path, Path, Path], None]:
    """Return what quantizes (model, images, folder), and leaves ``quantized.qir`` in the folder.

    Args:
        tool: TARGET/EFFORT, or TARGET@BITS/EFFORT for mixed precision of so many bits on average.
    """
    name, _, effort = tool.partition("/")
    target, _, bits = name.partition("@")
    load_target(target)  # fails before torch is imported
    runtime.executor()

    def work(model: Path, images: Path, folder: Path) -> None:
        samples = list(np.load(images, mmap_mode="r"))
        quantized = quantize_network(
            model, samples, target, effort=effort, average_bits=float(bits) if bits else None
        )
        api.save(quantized, folder / "quantized.qir")

    return work


def quantize_network(
    model: str | Path | Graph,
    samples: Sequence[Array],
    target: str,
    *,
    effort: str = "fast",
    average_bits: float | None = None,
) -> Graph:
    """Stand in for the function of that name of `quantable.driver.api` until that is there.

    Returns:
        The refined quantable graph, as `fast` makes it.

    Raises:
        OptionError: Another effort, or mixed precision, is asked for.
    """
    if effort != "fast" or average_bits is not None:
        raise OptionError(
            f"expected effort 'fast' and no average bits, found '{effort}' and {average_bits}"
        )
    graph = model if isinstance(model, Graph) else api.canonicalize(api.import_model(model))
    profile = api.observe(graph, samples)
    return api.refine(api.calibrate(api.quantize(graph, target), profile))
