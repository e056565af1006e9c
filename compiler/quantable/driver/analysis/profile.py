"""What calibration statistics say about each tensor of a quantized network; no data are needed.

Extrema are exact. All else is made from bins that are 1/128 of an octave wide, every element taken
to lie in the middle of its bin.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.driver.analysis.grids import beyond, is_linear
from quantable.driver.analysis.measures import BINS, Totals
from quantable.driver.analysis.moments import Moments
from quantable.driver.analysis.statistics import quantizers
from quantable.ir import DataError, Graph, Profile, ValueStatistics
from quantable.ir.profile import bin_edges


def profile_statistics(graph: Graph, profile: Profile) -> list[dict[str, object]]:
    """Return the statistics of every tensor that a profile and a graph have, as JSON values.

    Raises:
        DataError: The profile was measured on another graph.
    """
    expected = graph.metadata.get("float_digest", "")
    if profile.graph_digest != expected:
        raise DataError(
            "the profile was measured on another graph: expected one of graph "
            f"{expected[:12]}, found one of graph {profile.graph_digest[:12]}",
            help="give the profile that the graph was calibrated with",
        )
    makers = quantizers(graph)
    rows: list[dict[str, object]] = []
    for name, held in profile.statistics.items():
        if name not in graph.values or not held.count:
            continue
        centers, place = _centers(held), makers.get(name)
        moments = replace(Moments.of(centers, held.counts), low=held.minimum, high=held.maximum)
        share = None
        if place is not None and is_linear(place.config(graph)):
            config = place.config(graph)
            is_beyond = beyond(centers, config, graph.rows[config.row])
            share = float(held.counts[is_beyond].sum()) / held.count
        rows.append({
            "tensor": name, "operation": place.operation if place else "",
            "slot": str(place) if place else "", "float": moments.facts(), "share_clipped": share,
            "histogram": {"low": held.minimum, "high": held.maximum,
                          "float": _histogram(centers, held).tolist()},
        })  # fmt: skip
    return rows


def _centers(held: ValueStatistics) -> npt.NDArray[np.float64]:
    low, high = bin_edges(held.bins)
    return np.clip((low + high) / 2, held.minimum, held.maximum)


def _histogram(centers: npt.NDArray[np.float64], held: ValueStatistics) -> npt.NDArray[np.int64]:
    """Return the counts in bins of equal width, as `Totals` has them."""
    totals = Totals(held.minimum, held.maximum)
    places = totals.bins(centers)
    found = np.zeros(BINS, np.int64)
    np.add.at(found, places, held.counts)
    return found
