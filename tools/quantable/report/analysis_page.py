"""An analysis as one HTML page with plots; it needs no other file, no script and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from quantable.driver.analysis.budget import CATEGORIES
from quantable.report import plots
from quantable.report.analysis_text import TABLES, Table, number, short, verdict

Facts = Mapping[str, Any]
MOST_BARS = 30
"""Bars that a plot has at most; the table below it has everything."""
_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem;
  padding: 0 1rem; }
table { border-collapse: collapse; margin-bottom: 1.5rem; }
th, td { border: 1px solid #8886; padding: .2rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
svg { width: 100%; max-width: 62rem; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: currentColor; }
svg line { stroke: #8888; stroke-width: 1; }
figure { display: inline-block; width: 18rem; margin: .5rem; vertical-align: top; }
figcaption { font-size: 12px; overflow-wrap: anywhere; }
summary { cursor: pointer; margin-bottom: .5rem; }
"""


def analysis_page(facts: Facts) -> str:
    """Return the page.

    Args:
        facts: Of `quantable.driver.analysis.analyze`.
    """
    body = "".join(_sections(facts))
    remarks = "".join(f"<p>{escape(text)}</p>\n" for text in facts.get("remarks", ()))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(facts['network'])}: quantization errors</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(verdict(facts))}</h1>\n"
        f"<p>graph <code>{escape(facts['graph_digest'])}</code></p>\n{remarks}{body}"
        "</body>\n</html>\n"
    )


def _sections(facts: Facts) -> Iterator[str]:
    for name, tabulate in TABLES.items():
        if name in facts:
            table = tabulate(facts[name])
            yield (
                f'<h2 id="{name}">{escape(table.title)}</h2>\n{PLOTS[name](facts[name])}'
                f"<details><summary>table</summary>\n{_table(table)}</details>\n"
            )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows
    )
    return f"<table>\n<tr>{head}</tr>\n{rows}</table>\n"


def _graphwise(points: Sequence[Facts]) -> str:
    labels = [f"{point['value']} ({point['kind']})" for point in points]
    heights = [point["sqnr_db"] for point in points]
    return plots.curve(list(zip(labels, heights, strict=True)), "dB SQNR")


def _layerwise(shares: Sequence[Facts]) -> str:
    loudest = sorted(
        (share for share in shares if share["alone_db"] is not None),
        key=lambda share: share["alone_db"],
    )
    noise = [
        (_label(share["group"], share["kind"]), {"noise": 10 ** (-share["alone_db"] / 10)})
        for share in loudest[:MOST_BARS]
    ]
    return _explained("noise to signal at the network's outputs, the operation alone quantized",
                      plots.bars(noise, ".2e"))  # fmt: skip


def _budget(budget: Facts) -> str:
    total = budget["noise"]
    if not total > 0:
        return ""
    tensors = sorted(budget["tensors"], key=lambda entry: -sum(entry["noise"].values()))
    shown = [*tensors[:MOST_BARS]]
    rows = [("whole network", _parts(budget["categories"], total))]
    rows += [(_label(e["tensor"], e["kind"], e["slot"]), _parts(e["noise"], total)) for e in shown]
    return _explained("shares of the network's noise, in percent", plots.bars(rows, ".1f"))


def _parts(noise: Mapping[str, float], total: float) -> dict[str, float]:
    return {
        name.replace("_", " "): 100 * noise[name] / total for name in CATEGORIES if noise.get(name)
    }


def _remedies(trials: Sequence[Facts]) -> str:
    rows = [
        (
            f"{trial['remedy'].replace('_', ' ')}: "
            f"{_label(trial['tensor'], trial['kind'], trial['slot'], 22)}",
            {"gain": trial["gain_db"]},
        )
        for trial in trials
        if trial["gain_db"] is not None
    ]
    return _explained("gain at the network's outputs in dB", plots.bars(rows[:MOST_BARS], "+.2f"))


def _shifts(shifts: Sequence[Facts]) -> str:
    rows = [
        (_label(entry["operation"], entry["kind"]), {"share": 100 * entry["share"]})
        for entry in sorted(shifts, key=lambda entry: -(entry["share"] or 0.0))
        if entry["share"] is not None
    ]
    return _explained("percent of the noise at the operation's output that is a constant of its "
                      "channel", plots.bars(rows[:MOST_BARS], ".1f"))  # fmt: skip


def _histograms(tensors: Sequence[Facts]) -> str:
    figures = []
    for entry in tensors:
        held = entry["histogram"]
        counts = {name: held[name] for name in ("float", "quantized") if name in held}
        drawn = plots.histogram(counts, held["low"], held["high"])
        caption = f"{short(entry['tensor'], 60)} {entry['slot']}".rstrip()
        if entry.get("sqnr_db") is not None:
            caption += f"; SQNR {number(entry['sqnr_db'], '.1f')} dB"
        figures.append(f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>\n")
    return (
        "<p>Histograms over the float range, heights logarithmic: float filled, quantized as a "
        f"line.</p>\n<details><summary>histograms</summary>\n{''.join(figures)}</details>\n"
    )


def _label(name: str, kind: str, slot: str = "", longest: int = 34) -> str:
    return f"{short(name, longest)} ({kind}{' ' if slot else ''}{slot})"


def _explained(text: str, plot: str) -> str:
    return f"<p>{escape(text)}</p>\n{plot}"


PLOTS: dict[str, Callable[[Any], str]] = {
    "graphwise": _graphwise, "layerwise": _layerwise, "budget": _budget, "remedies": _remedies,
    "shifts": _shifts, "statistics": _histograms, "profile": _histograms,
}  # fmt: skip
"""The plot of every table."""
