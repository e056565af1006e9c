"""Our quantizer at an effort: what the benchmarks call in a fresh process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from quantable.driver import api, runtime
from quantable.driver.data import Array
from quantable.driver.mixed_precision.budgets import Budget
from quantable.driver.mixed_precision.search import Search
from quantable.driver.tuning_data import open_tuning_data
from quantable.targets.description import load_target


def work_of_target(tool: str) -> Callable[[Path, Path, Path], None]:
    """Return what quantizes (model, images, folder), and leaves ``quantized.qir`` in the folder.

    Args:
        tool: TARGET/EFFORT, or TARGET@BITS/EFFORT for mixed precision of so many bits on average.
    """
    name, _, effort = tool.partition("/")
    target, _, bits = name.partition("@")
    load_target(target)  # fails before torch is imported
    budget = Budget.parse(f"average-bits={bits}") if bits else None
    runtime.executor()

    def work(model: Path, images: Path, folder: Path) -> None:
        samples = list(np.load(images, mmap_mode="r"))
        assign = () if budget is None else assignment(model, samples, target, budget)
        quantized = api.quantize_network(model, samples, target, effort=effort, assign=assign)
        api.save(quantized, folder / "quantized.qir")

    return work


def assignment(
    model: Path, samples: Sequence[Array], target: str, budget: Budget
) -> tuple[str, ...]:
    """Return the bit widths that a search with default options finds, as `assign` takes them."""
    graph = api.canonicalize(api.import_model(model))
    tuning = open_tuning_data(graph, samples)
    profile = api.observe(graph, samples)
    return tuple(Search(graph, target, profile, tuning.laboratory).best(budget).entries)
