"""The page of networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantable.bench.families.family import Family
from quantable.bench.families.measure import Agreement, Code

_HEAD = """# Networks

Written by `python -m quantable.bench.families`; do not edit. Small networks of many families, with
seeded weights, as exporters write them: `legacy-17` is torch's exporter that traces, at opset 17,
`dynamo-20` the one through torch.export at opset 20, `script-17` a file that a script makes. Each
is imported, canonicalized, observed on {calibration} samples, and judged on {evaluation} others.
"""
_FLOAT = """
## Quantized for ONNX Runtime

Error: of the canonical float network, against ONNX Runtime, relative to the largest element. SQNR:
signal to quantization noise of the worst float output over all samples, in dB, ours at the effort
`fast` and that of ONNX Runtime's static quantizer (QDQ, uint8 activations, int8 weights per
channel, MinMax). Differ: elements of all outputs in which ONNX Runtime, without optimizations,
differs from the simulation on our file; in each sample float32 rounding explains the first one
(`yes`), as `quantable validate` judges it. Float: operations on real numbers that stay float, as
this target's rules want it where no product is near.

| network | form | error | SQNR | peer's SQNR | differ | explained | float |
|---|---|---|---|---|---|---|---|
"""
_CODE = """
## As C

What `quantable validate` says of the code of each target: elements of the integer outputs that
differ from the reference, with each set of compiler flags that the target tells apart. SQNR as
above, of the integers. One form of each network is compiled; shapes are fixed by `bind-symbols`,
recurrent networks are unrolled.

| network | form | target | SQNR | validate |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """What was measured of one form of a family.

    Attributes:
        family, form: Which.
        error: Of the float network.
        own, peer: SQNR in dB.
        agreement: With ONNX Runtime.
        floats: Operations that stay float.
        code: By target.
    """

    family: Family
    form: str
    error: float
    own: float
    peer: float
    agreement: Agreement
    floats: Counter[str]
    code: Mapping[str, Code]

    def misses(self) -> list[str]:
        """Return what is not as it should be."""
        where, found = f"{self.family.name} {self.form}", []
        if self.own < self.family.least_db:
            found.append(f"{where}: SQNR {self.own:.1f} of {self.family.least_db:.1f} dB")
        if self.own < self.peer:
            found.append(f"{where}: SQNR {self.own:.1f} dB, peer {self.peer:.1f} dB")
        if not self.agreement.is_explained:
            found.append(f"{where}: a difference from ONNX Runtime is unexplained")
        for target, code in self.code.items():
            found += [f"{where}, {target}: {miss}" for miss in _misses(self.family, code)]
        return found


def _misses(family: Family, code: Code) -> list[str]:
    refused = family.fixed.refused
    if code.refused or refused:
        is_expected = bool(refused) and refused in code.refused
        return [] if is_expected else [f"refused: {code.refused or 'not'}"]
    found = [f"{claim.name}: {claim.found}" for claim in code.claims if not claim.held]
    if code.db < family.fixed.least_db:
        found.append(f"SQNR {code.db:.1f} of {family.fixed.least_db:.1f} dB")
    return found


def page(rows: Sequence[Row], calibration: int, evaluation: int) -> str:
    """Return the page."""
    lines = [_HEAD.format(calibration=calibration, evaluation=evaluation)]
    lines += ["| network | what is in it |", "|---|---|"]
    families = {row.family.name: row.family for row in rows}
    lines += [f"| {family.name} | {family.summary} |" for family in families.values()]
    text = "\n".join(lines) + "\n" + _FLOAT + "\n".join(_float_row(row) for row in rows)
    text += "\n" + _CODE + "\n".join(line for row in rows for line in _code_rows(row))
    misses = [miss for row in rows for miss in row.misses()]
    verdict = [f"- missed: {miss}" for miss in misses] or ["Every bar holds."]
    return "\n".join([text, "", *verdict]) + "\n"


def _float_row(row: Row) -> str:
    floats = ", ".join(f"{kind} {count}" for kind, count in sorted(row.floats.items()))
    found = row.agreement
    return (
        f"| {row.family.name} | {row.form} | {row.error:.1e} | {row.own:.1f} | {row.peer:.1f} "
        f"| {found.differing} of {found.elements} | {'yes' if found.is_explained else 'NO'} "
        f"| {floats or 'none'} |"
    )


def _code_rows(row: Row) -> list[str]:
    lines = []
    for target, code in row.code.items():
        equal = [claim.found for claim in code.claims if claim.name.startswith("integers equal")]
        found = "; ".join(equal) or "refused: " + " ".join(
            code.refused.split("\n  help")[0].split()
        )
        db = f"{code.db:.1f}" if equal else "-"
        lines.append(f"| {row.family.name} | {row.form} | {target} | {db} | {found} |")
    return lines
