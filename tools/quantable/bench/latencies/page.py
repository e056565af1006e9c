"""The page of latencies, and which bars are missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
OWN = "quantable"
BARS: Mapping[str, float] = {
    "resnet50": 1.05, "resnet18": 1.05, "mobilenet_v2": 1.4, "mobilenet_v1_025_vww": 1.8,
    "resnet8_ic": 1.4, "resnet20": 1.2, "dscnn_kws": 1.8, "autoencoder_ad": 1.0, "vit_tiny": 1.3,
    "bert_base_128": 1.1,
}  # fmt: skip
"""The best peer's time over ours, at least, with 1 thread."""
SCALING = ("resnet50", 1.8)
"""How many times as fast a network is with 2 threads, at least."""
_HEAD = """# Latency beside other int8 runtimes

Written by `python -m quantable.bench.latencies`; do not edit. Networks with random weights, one
sample a run. Runtimes take turns in blocks in one process; medians of {seconds:g} seconds each, in
milliseconds. Other runtimes are called from Python, the call is part of their time. "ratio" is the
best peer's time over ours; "best ratio" compares each runtime's fastest block, which other load
touches least; "of peak" is of what the processor reaches on products of bytes that wait for no
memory. "QDQ" is what ONNX Runtime's quantizer makes (uint8 activations, weights by channel), "NNCF"
what NNCF makes for OpenVINO, "int8" what ai-edge-quantizer makes for LiteRT; "-" was not measured.
On processors without VNNI, ONNX Runtime and OpenVINO add pairs of products in 16 bits, which
saturate (see [decisions](decisions.md#benchmarks)); emitted code is exact everywhere.
There "of peak" can be more than 100%: convolutions of 3 x 3 need fewer products than their
definition has, which are those that count.

Machine: {machine}. Versions: {versions}.

"""


def grouped(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Return the rows by network and threads, in order."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["threads"]), []).append(row)
    return groups


def ratio(rows: Sequence[Row], key: str = "milliseconds") -> float | None:
    """Return the best peer's time over ours, None where no peer ran."""
    mine = [row[key] for row in rows if row["runtime"] == OWN]
    peers = [row[key] for row in rows if row["runtime"] != OWN]
    return float(min(peers) / mine[0]) if mine and peers else None


def misses(rows: Sequence[Row]) -> list[str]:
    """Return the bars that are missed, in words."""
    return list(_misses(rows))


def _misses(rows: Sequence[Row]) -> Iterator[str]:
    groups = grouped(rows)
    for (network, threads), group in groups.items():
        bar, found = (BARS[network] if threads == 1 else 1.0), ratio(group)
        if found is not None and found < bar:
            yield f"{network}, {threads} threads: {found:.2f} of {bar:g}"
    network, least = SCALING
    times = [
        next((r["milliseconds"] for r in groups.get((network, n), ()) if r["runtime"] == OWN), None)
        for n in (1, 2)
    ]
    if times[0] is not None and times[1] is not None and times[0] < least * times[1]:
        yield f"{network}: 2 threads are {times[0] / times[1]:.2f} times as fast, of {least:g}"


def page(facts: Mapping[str, Any]) -> str:
    """Return the page of measured facts."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    text = _HEAD.format(**{**facts, "versions": packages})
    groups = grouped(facts["rows"])
    for threads in dict.fromkeys(key[1] for key in groups):
        chosen = {key[0]: rows for key, rows in groups.items() if key[1] == threads}
        text += _table(chosen, threads)
    return text + "".join(f"- missed: {miss}\n" for miss in facts["misses"])


def _table(chosen: Mapping[str, Sequence[Row]], threads: int) -> str:
    runtimes = list(dict.fromkeys(row["runtime"] for rows in chosen.values() for row in rows))
    columns = ["network", *runtimes, "of peak", "ratio", "best ratio", "bar"]
    lines = [f"## Threads: {threads}\n\n", f"| {' | '.join(columns)} |\n", "|---" * len(columns)]
    lines.append("|\n")
    for network, rows in chosen.items():
        times = {row["runtime"]: f"{row['milliseconds']:.4g}" for row in rows}
        part = next((row["of_peak"] for row in rows if row["runtime"] == OWN), None)
        ratios = [ratio(rows), ratio(rows, "best")]
        cells = [
            network, *(times.get(runtime, "-") for runtime in runtimes),
            f"{part:.0%}" if part else "-",
            *("-" if found is None else f"{found:.2f}" for found in ratios),
            f"{BARS[network] if threads == 1 else 1:g}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines) + "\n"
