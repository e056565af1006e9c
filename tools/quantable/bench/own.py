"""Stands in for `quantable.driver.api.quantize_network` until that is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantable.driver import api
from quantable.driver.data import Array
from quantable.ir import Graph, OptionError


def quantize_network(
    model: str | Path | Graph,
    samples: Sequence[Array],
    target: str,
    *,
    effort: str = "fast",
    average_bits: float | None = None,
) -> Graph:
    """Return the refined quantable graph of a network, as `fast` makes it.

    Raises:
        OptionError: Another effort, or mixed precision, is asked for.
    """
    if effort != "fast" or average_bits is not None:
        raise OptionError(f"expected effort fast and no average bits, found {effort}")
    graph = model if isinstance(model, Graph) else api.canonicalize(api.import_model(model))
    profile = api.observe(graph, samples)
    return api.refine(api.calibrate(api.quantize(graph, target), profile))
