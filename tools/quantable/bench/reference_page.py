"""The page of the reference's speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """# Speed of the float reference

Written by `python -m quantable.bench.reference`; do not edit. Networks with random weights, a batch
of {batch}, {threads} threads. The reference and ONNX Runtime take turns run by run in one process,
each run after the threads of the one before have come to rest: those of ONNX Runtime look for more
work for some 50 ms, on a core that the other would need. Ratios are the reference's time over ONNX
Runtime's (bar: {bar}). "best" compares the fastest run of each, which other load on the machine
touches least; "processor" is the time of all cores during the run. "peak" is the resident memory of
a fresh process, Python and packages included. "difference" is the largest one between elements of
the outputs.

Machine: {machine}. Versions: {versions}. Median of {runs} runs.

| network | reference s | ONNX Runtime s | ratio | best | processor ratio | best | peak MB | ONNX Runtime MB | difference |
|---|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501 # a row of a table is one line


def page(facts: Mapping[str, Any]) -> str:
    """Return the page of measured facts."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    head = _HEAD.format(**{**facts, "versions": packages})
    lines = []
    for row in facts["rows"]:
        wall, peak = row["wall_s"], row["peak_mb"]
        cells = [
            row["network"], f"{wall[0]:.3f}", f"{wall[1]:.3f}", f"{row['wall_ratio']:.2f}",
            f"{row['wall_best_ratio']:.2f}", f"{row['processor_ratio']:.2f}",
            f"{row['processor_best_ratio']:.2f}", f"{peak[0]:.0f}", f"{peak[1]:.0f}",
            f"{row['largest_difference']:.1e}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |\n")
    missed = [row["network"] for row in facts["rows"] if row["wall_ratio"] > facts["bar"]]
    return head + "".join(lines) + "".join(f"\n- missed: {name}\n" for name in missed)
