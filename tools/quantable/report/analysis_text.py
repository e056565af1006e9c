"""An analysis as tables for a person, built from its facts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from quantable.driver.analysis.budget import CATEGORIES
from quantable.driver.analysis.measures import MEASURES
from quantable.driver.analysis.moments import FIGURES

Facts = Mapping[str, Any]
LONGEST_NAME = 44
"""Characters of a name that a table shows; ONNX exporters write names of hundreds."""


class Table:
    """One table.

    Attributes:
        title: What it shows, and how its rows are ordered.
        columns: Heads.
        rows: Cells, as text.
    """

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.title, self.columns, self.rows = title, tuple(columns), tuple(map(tuple, rows))


def verdict(facts: Facts) -> str:
    """Return the error of the whole network in one line."""
    if "network_db" not in facts:
        return f"{facts['network']} for {facts['target']}: statistics of calibration alone"
    at = ", ".join(short(name) for name in facts["measured_at"])
    return (
        f"{facts['network']} for {facts['target']}: SQNR {number(facts['network_db'], '.2f')} dB "
        f"at {at}, {facts['samples']} samples"
    )


def tables(facts: Facts) -> Iterator[Table]:
    """Yield a table for every analysis that the facts hold."""
    for name, table in TABLES.items():
        if name in facts:
            yield table(facts[name])


def _graphwise(points: Sequence[Facts]) -> Table:
    columns = ("value", "made by", *(kind.title for kind in MEASURES.values()))
    rows = [
        (
            short(point["value"]) + (" (fused)" if point["is_inside_group"] else ""),
            point["kind"], *figures(point),
        )
        for point in points
    ]  # fmt: skip
    return Table("error at every value, the whole network quantized", columns, rows)


def _layerwise(shares: Sequence[Facts]) -> Table:
    columns = ("operation", "kind", "alone dB", "local dB", "without dB", "gain dB")
    rows = [
        (
            short(share["group"]), share["kind"], number(share["alone_db"], ".2f"),
            number(worst(share["local"]), ".2f"), number(share["without_db"], ".2f"),
            number(share["gain_db"], "+.2f"),
        )
        for share in sorted(shares, key=_loudness)
    ]  # fmt: skip
    title = (
        "one operation at a time, the worst first; SQNR at the network's outputs: it alone "
        "quantized, and all but it"
    )
    return Table(title, columns, rows)


def _budget(budget: Facts) -> Table:
    columns = ("tensor", "of", "slot", "share", *(name.replace("_", " ") for name in CATEGORIES))
    shares = budget["shares"]
    total = ("all", "", "", "100.0 %", *(percent(shares[name]) for name in CATEGORIES))
    rows = [
        (
            short(entry["tensor"]), entry["kind"], entry["slot"], percent(entry["share"]),
            *(percent(_part(entry["noise"].get(name), budget["noise"])) for name in CATEGORIES),
        )
        for entry in sorted(budget["tensors"], key=lambda entry: -sum(entry["noise"].values()))
    ]  # fmt: skip
    title = "what adds up to the network's noise, the worst first; negative: cancels other errors"
    return Table(title, columns, [total, *rows])


def _part(noise: float | None, total: float) -> float | None:
    return noise / total if noise is not None and total > 0 else None


def _remedies(trials: Sequence[Facts]) -> Table:
    columns = ("remedy", "tensor", "of", "slot", "network dB", "gain dB")
    rows = [
        (
            trial["remedy"].replace("_", " "), short(trial["tensor"]), trial["kind"],
            trial["slot"], number(trial["network_db"], ".2f"), number(trial["gain_db"], "+.2f"),
        )
        for trial in trials
    ]  # fmt: skip
    return Table("what would help, one remedy at a time, the best first", columns, rows)


def _shifts(shifts: Sequence[Facts]) -> Table:
    columns = ("operation", "kind", "largest shift", "share of the output's noise")
    rows = [
        (
            short(entry["operation"]), entry["kind"], number(entry["largest"], ".4g"),
            percent(entry["share"]),
        )
        for entry in sorted(shifts, key=lambda entry: -(entry["share"] or 0.0))
    ]  # fmt: skip
    return Table("average errors of channels, the largest share first", columns, rows)


def _statistics(tensors: Sequence[Facts]) -> Table:
    columns = ("tensor", "slot", "min", "max", "mean", "std", "skew", "kurtosis", "clipped",
               "levels", "bits used")  # fmt: skip
    rows = [
        (
            short(entry["tensor"]), entry["slot"],
            *(number(entry["float"][name], ".4g") for name in FIGURES),
            percent(entry["share_clipped"], 3), _levels(entry),
            number(entry["effective_bits"], ".2f"),
        )
        for entry in tensors
    ]  # fmt: skip
    return Table("what tensors hold in the float network, and how their grids are used",
                 columns, rows)  # fmt: skip


def _profile(tensors: Sequence[Facts]) -> Table:
    columns = ("tensor", "slot", *FIGURES, "clipped")
    rows = [
        (
            short(entry["tensor"]), entry["slot"],
            *(number(entry["float"][name], ".4g") for name in FIGURES),
            percent(entry["share_clipped"], 3),
        )
        for entry in tensors
    ]  # fmt: skip
    return Table("what tensors held in calibration", columns, rows)


def _levels(entry: Facts) -> str:
    return "-" if entry["levels"] is None else f"{entry['levels_used']} of {entry['levels']}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as text."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _loudness(share: Facts) -> float:
    found = share["alone_db"]
    return float("inf") if found is None else float(found)


def worst(places: Mapping[str, Facts]) -> float | None:
    """Return the lowest SQNR of several values, None where none has any."""
    found = [place["sqnr_db"] for place in places.values() if place["sqnr_db"] is not None]
    return min(found, default=None)


def figures(place: Facts) -> tuple[str, ...]:
    """Return every measure as text."""
    if place["is_equal"]:
        return ("equal", *("-" for _ in list(MEASURES)[1:]))
    return tuple(number(place[key], kind.form) for key, kind in MEASURES.items())


def number(value: float | None, form: str) -> str:
    """Return a number as text, '-' where there is none."""
    return "-" if value is None else format(value, form)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name with its middle left out where it is long; ends tell more than beginnings."""
    if len(name) <= longest:
        return name
    kept = longest - 3
    return f"{name[: kept // 3]}...{name[-(kept - kept // 3) :]}"


TABLES: dict[str, Callable[[Any], Table]] = {
    "graphwise": _graphwise, "layerwise": _layerwise, "budget": _budget, "remedies": _remedies,
    "shifts": _shifts, "statistics": _statistics, "profile": _profile,
}  # fmt: skip
"""The table of every analysis by its name, and that of calibration statistics."""
