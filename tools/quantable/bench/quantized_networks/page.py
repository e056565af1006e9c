"""The text of ``docs/quantized-networks.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from quantable.bench.quantized_networks.measure import FUSION, INTEGER_TARGET
from quantable.bench.quantized_networks.tools import TOOLS

Row = Mapping[str, Any]
Facts = Mapping[str, Row]

_HEAD = """# Networks that other tools quantized

Written by `python -m quantable.bench.quantized_networks`; do not edit. Each shared network is
quantized by each tool. The file is imported, brought to its canonical form, and its quantizers
become configs (`adopt-quantizers`, see [decisions](decisions.md#quantized-models)). Every element
of every output is compared; nothing is timed.
"""
_COLUMNS = f"""
- **import**: elements that differ between the imported file, whose quantizers are operations still,
  on the reference runtime and the tool's file in ONNX Runtime, optimizations off.
- **configs**: the same for the quantable graph.
- **trip**: elements that differ between the emitted file and the tool's in ONNX Runtime, with
  optimizations off / on. Only quantizers were turned into configs and back.
- **canonical**: the same with optimizations off for the file that is emitted behind
  `canonicalize`, which may add the same numbers in another order.
- **ort**: elements that ONNX Runtime changes by its own optimizations, and the largest change /
  the same without `{FUSION}`, which puts kernels on integers
  in the place of operations between quantizers.
- **C**: elements that differ between the integer graph for `{INTEGER_TARGET}`, lowered without any
  data (behind `fold-channel-scales`), and ONNX Runtime with optimizations off; or how many places
  have no integers, and the signal to quantization noise against ONNX Runtime where calibration data
  fill them (`compile --calibration`; the file's own rows stay, the tool's samples are given).
"""
_CAUSES = f"""## Causes

**import, configs.** Both runtimes add float32 numbers, in another order. For every sample the first
value that differs is looked at: either it lies behind the last quantizer, or next to a tie of the
quantizer behind it (table "in all"). 16 bits have ties that are 256 times closer, so that a
difference reaches nearly every output of `ort-u16s8`, and stays small.

**ort.** With VNNI the kernel for uint8 times int8 is exact. What optimizations change there is a
step or so of the output: sums that the integer kernel rounds once, and the float operation between
quantizers twice. With AVX2 alone it adds pairs of products in 16 bits, which saturate. Two facts
show it on such a processor: changes are large with weights of 8 bits (5.98 in resnet8), and with
weights of 7 bits, where no pair can saturate, they are those of VNNI in all networks but dscnn_kws;
and QOperator files, whose operations are that kernel in any case, differ from the exact sum in
nearly half of all elements in uint8 times int8 (`ort-qoperator`) and not in uint8 times uint8
(`ort-qoperator-u8u8`), which has another kernel. Without `{FUSION}` files
with quantizers at all tensors hardly change; those of NNCF, and those of weights alone, have real
numbers in many places, whose order of adding other optimizations change.

**import of QOperator.** The reference multiplies integer sums by exact factors, the kernel by
float32 ones. With float32 factors in the reference, tried by hand, `ort-qoperator-u8u8` does not
differ at all in mobilenetv1_vww and mobilenetv1_0.25_128; the 8 elements of resnet56 stay and
come from another kernel, which was not looked for. As configs the same files meet the ties of
float sums instead.

**dynamic.** Files with DynamicQuantizeLinear are not followed to a tie: their scales are computed.
In resnet20 the first value that differs is a BatchNormalization, by one unit in the last place;
scales and rounding of all tensors behind follow from it.

**trip.** A file with QLinear operations is written with quantizers, which ONNX Runtime's optimizer
brings back to the same kernels: equal with optimizations on. Off, it executes real operations where
the tool's file has the integer kernel. `MatMulNBits` comes back as DequantizeLinear and MatMul,
which ONNX Runtime optimizes to a product with inputs of 8 bits.
"""


def page(facts: Facts, about: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        facts: What `measure` found, by "network tool".
        about: Machine, versions, numbers of samples.
    """
    known = {
        key: row for key, row in facts.items() if key.split()[1] in TOOLS and "failed" not in row
    }
    packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        _HEAD,
        f"Machine: {about['machine']}. Versions: {packages}.",
        f"Tools are given {about['calibration']} samples, {about['samples']} others are compared.",
        "",
        "## In all",
        *_totals(known),
        _CAUSES,
        *_saturation(known),
        "",
        "## Each network",
        _COLUMNS,
        "| network | tool | operations, rows, integers | left | import | configs | trip "
        "| canonical | ort | C |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(key, known[key]) for key in _ordered(known)),
        "",
        "## Beside our own quantization of the same network",
        "",
        *_diffs(known),
        *_failed(facts),
    ]
    return "\n".join(lines) + "\n"


def _ordered(facts: Facts) -> list[str]:
    order = list(TOOLS)
    networks = list(dict.fromkeys(key.split()[0] for key in facts))
    return sorted(facts, key=lambda k: (networks.index(k.split()[0]), order.index(k.split()[1])))


def _row(key: str, row: Row) -> str:
    network, tool = key.split()
    made = f"{row['operations']}, {row['rows']}, {row['baked']}" if row["adopted"] else "-"
    cells = (network, tool, made, row["left"], *_cells(row))
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _cells(row: Row) -> list[str]:
    change = f"{_part(row['fast'])} ({row['fast']['largest']:.2g}) / {row['unfused']['differing']}"
    return [
        _part(row["import"]),
        _part(row["reference"]),
        f"{row['trip']['differing']} / {row['fast-trip']['differing']}",
        str(row["canonical"]["differing"]),
        change,
        _integer(row["integer"]),
    ]


def _integer(found: Row) -> str:
    if "refused" not in found:
        return _part(found)
    completed = found.get("completed")
    places = f"{found['places']} place{'s' * (found['places'] > 1)}"
    return places if completed is None else f"{places}, then {completed['sqnr']} dB"


def _part(found: Row) -> str:
    return f"{found['differing']} of {found['elements']}"


def _totals(facts: Facts) -> list[str]:
    reasons = Counter[str]()
    for row in facts.values():
        reasons.update(row["reasons"])
    lines = [
        "",
        "Elements that differ, summed over the networks; the columns are those below. Causes are",
        "counted in samples: no difference between configs and ONNX Runtime (=), or the first one",
        "is next to a tie of a quantizer (tie), behind the last one (end), or unexplained (?).",
        "Files that run in integers alone with calibration data only are more (C).",
        "",
        "| tool | what it is | files | import | configs | = / tie / end / ? | trip | canonical "
        "| ort | C |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for tool in TOOLS.values():
        rows = [row for key, row in facts.items() if key.split()[1] == tool.name]
        if rows:
            lines.append(_total(tool.name, tool.words, rows))
    if reasons:
        lines += ["", "Quantizers that stay operations:", ""]
        lines += [f"- {count}: {text}" for text, count in reasons.items()]
    return [*lines, ""]


def _total(name: str, words: str, rows: list[Row]) -> str:
    causes = Counter[str]()
    for row in rows:
        causes.update(row["reference"]["causes"] if row["adopted"] else {})
    words_of = ("equal", "float32 rounding at a tie of a quantizer",
                "float32 rounding behind the last quantizer", "unexplained")  # fmt: skip
    lowered = [row["integer"] for row in rows if "refused" not in row["integer"]]
    completed = sum(row["integer"].get("completed") is not None for row in rows)
    cells = [
        name, words, len(rows), _sum(rows, "import"), _sum(rows, "reference"),
        " / ".join(str(causes[word]) for word in words_of) if causes else "-",
        f"{_count(rows, 'trip')} / {_count(rows, 'fast-trip')}",
        _count(rows, "canonical"),
        f"{_sum(rows, 'fast')} / {_count(rows, 'unfused')}",
        f"{len(lowered)} files, {sum(f['differing'] for f in lowered)} of "
        f"{sum(f['elements'] for f in lowered)}{f'; {completed} more' * bool(completed)}",
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _count(rows: Iterable[Row], key: str) -> int:
    return sum(row[key]["differing"] for row in rows)


def _sum(rows: Iterable[Row], key: str) -> str:
    held = list(rows)
    return f"{_count(held, key)} of {sum(row[key]['elements'] for row in held)}"


def _saturation(facts: Facts) -> list[str]:
    lines = [
        "What ONNX Runtime's optimizations change, and how far, in uint8 times int8:",
        "",
        "| network | weights of 8 bits | weights of 7 bits | without the fusion |",
        "|---|---|---|---|",
    ]
    for key in _ordered(facts):
        network, tool = key.split()
        seven = facts.get(f"{network} ort-u8s8-7bit")
        if tool == "ort-u8s8" and seven is not None:
            rows = (facts[key], seven)
            cells = [f"{_part(row['fast'])}, {row['fast']['largest']:.3g}" for row in rows]
            none = ", ".join(str(row["unfused"]["differing"]) for row in rows)
            lines.append(f"| {network} | {cells[0]} | {cells[1]} | {none} |")
    return lines


def _diffs(facts: Facts) -> list[str]:
    lines = [
        "What `quantable diff` reports between the file's quantable graph and ours for the target",
        "`onnxruntime`. Relus that only one graph has are those that ONNX Runtime's tool drops",
        "where the end of a range does the same; `ort-u8s8-relu` keeps them. Operations match by",
        "provenance; nodes of ultraface_slim have no names and are called after outputs, which the",
        "tool renames with a Relu.",
        "",
        "| network | tool | Relus | other operations | slots | fields |",
        "|---|---|---|---|---|---|",
    ]
    for key in _ordered(facts):
        row = facts[key]
        if not row["adopted"]:
            continue
        network, tool = key.split()
        found = row["diff"]
        others = ", ".join(f"{kind} {count}" for kind, count in found["operations"].items()) or "-"
        fields = ", ".join(f"{word} {count}" for word, count in sorted(found["fields"].items()))
        lines.append(
            f"| {network} | {tool} | {found['relus']} | {others} | {found['slots']} | {fields} |"
        )
    return lines


def _failed(facts: Facts) -> list[str]:
    failed = {key: row["failed"] for key, row in facts.items() if "failed" in row}
    if not failed:
        return []
    return [
        "",
        "## Networks that a tool does not take, or whose file ONNX Runtime refuses",
        "",
        *(f"- {key.replace(' ', ', ')}: `{text}`" for key, text in failed.items()),
    ]
