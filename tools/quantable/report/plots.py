"""Plots as inline SVG: no script, no other file, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Told apart with any colour vision (Okabe and Ito, 2008)."""
_WIDTH, _LABELS, _ROW = 900, 330, 18


def number(value: float) -> str:
    """Return a coordinate."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg">\n{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape(text)}</text>\n'


def _rect(x: float, y: float, width: float, height: float, color: str, note: str) -> str:
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(max(width, 0.0))}" '
        f'height="{number(max(height, 0.0))}" fill="{color}">'
        f"<title>{escape(note)}</title></rect>\n"
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True)
    return "<line " + " ".join(f'{name}="{number(at)}"' for name, at in ends) + "/>\n"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within a range."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(f for f in (1, 2, 5, 10) if (high - low) / (step * f) <= most)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]


def curve(points: Sequence[tuple[str, float | None]], unit: str) -> str:
    """Return a plot of values along a network, in its order.

    Args:
        points: (what a reader is told who points at it, its height; None leaves a gap).
        unit: Of the height.
    """
    heights = [value for _, value in points if value is not None]
    if not heights:
        return ""
    low, high = min(heights), max(heights)
    low, high = low - 0.05 * (high - low) - 0.5, high + 0.05 * (high - low) + 0.5
    left, top, bottom, right = 50.0, 10.0, 230.0, _WIDTH - 10.0
    step = (right - left) / max(1, len(points) - 1)

    def place(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = [
        _line(left, bottom, right, bottom),
        _text(left, bottom + 18, f"{unit}; in the order of the network"),
    ]
    for tick in ticks(low, high):
        parts += [_line(left, place(tick), right, place(tick)),
                  _text(left - 6, place(tick) + 4, f"{tick:g}", "end")]  # fmt: skip
    for index, (label, value) in enumerate(points):
        if value is not None:
            note = f"{label}: {value:.2f} {unit}"
            parts.append(
                f'<circle cx="{number(left + index * step)}" cy="{number(place(value))}" r="3.5" '
                f'fill="{COLORS[0]}"><title>{escape(note)}</title></circle>\n'
            )
    return _svg(_WIDTH, bottom + 30, parts)


def bars(rows: Sequence[tuple[str, Mapping[str, float]]], form: str) -> str:
    """Return horizontal bars; parts of one bar are stacked, negative ones to the left.

    Args:
        rows: (label, parts by name).
        form: How a total is written.
    """
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    color = dict(zip(names, COLORS * len(names), strict=False))
    right = max((sum(v for v in p.values() if v > 0) for _, p in rows), default=0.0)
    left = min((sum(v for v in p.values() if v < 0) for _, p in rows), default=0.0)
    span = right - left or 1.0
    room = _WIDTH - _LABELS - 70

    def place(value: float) -> float:
        return _LABELS + (value - left) / span * room

    drawn = _legend(color) if len(names) > 1 else []
    top = 24.0 if len(names) > 1 else 4.0
    for index, (label, parts) in enumerate(rows):
        y = top + index * _ROW
        drawn.append(_text(_LABELS - 8, y + 12, label, "end"))
        ends = {True: 0.0, False: 0.0}
        for name, value in parts.items():
            start = ends[value >= 0]
            ends[value >= 0] = start + value
            x = place(min(start, start + value))
            note = f"{label}: {name} {format(value, form)}"
            drawn.append(_rect(x, y + 2, abs(value) / span * room, _ROW - 4, color[name], note))
        total = format(sum(parts.values()), form)
        drawn.append(_text(place(ends[True]) + 4, y + 12, total))
    height = top + len(rows) * _ROW + 4
    drawn.append(_line(place(0.0), top, place(0.0), height))
    return _svg(_WIDTH, height, drawn)


def _legend(color: Mapping[str, str]) -> list[str]:
    parts, x = [], 4.0
    for name, fill in color.items():
        parts += [_rect(x, 4, 10, 10, fill, name), _text(x + 14, 13, name)]
        x += 24 + 6.4 * len(name)
    return parts


def histogram(counts: Mapping[str, Sequence[int]], low: float, high: float) -> str:
    """Return histograms over one range, the first one filled, heights on a logarithmic scale.

    Args:
        counts: By name, the counts of bins of equal width.
        low, high: Ends of the range.
    """
    top = max((math.log1p(max(bins, default=0)) for bins in counts.values()), default=0.0) or 1.0
    width, height = 280.0, 80.0
    parts: list[str] = []
    for (name, bins), color in zip(counts.items(), COLORS, strict=False):
        step = width / max(1, len(bins))
        path = [f"M0 {number(height)}"]
        for index, count in enumerate(bins):
            y = height - math.log1p(count) / top * height
            path.append(
                f"L{number(index * step)} {number(y)}L{number((index + 1) * step)} {number(y)}"
            )
        drawn = f"{''.join(path)}L{number(width)} {number(height)}Z"
        look = f'fill="none" stroke="{color}"' if parts else f'fill="{color}" fill-opacity="0.5"'
        parts.append(f'<path d="{drawn}" {look}><title>{escape(name)}</title></path>\n')
    parts += [_line(0, height, width, height), _text(0, height + 14, f"{low:.4g}"),
              _text(width, height + 14, f"{high:.4g}", "end")]  # fmt: skip
    return _svg(width, height + 18, parts)
