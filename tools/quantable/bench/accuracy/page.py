"""The text of ``docs/accuracy.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quantable.bench.accuracy.bars import PUBLISHED, Published, Verdict
from quantable.bench.accuracy.rows import Row, grouped
from quantable.bench.accuracy.significance import LEVEL, Gain
from quantable.bench.accuracy.suites import SUITES, Case
from quantable.bench.datasets import network
from quantable.bench.peers import PEERS

HEAD = """# Accuracy

Written by `python -m quantable.bench.accuracy`; do not edit. Calibration uses the calibration sets
only (512 images for CIFAR-10, all of the others), evaluation all samples of the evaluation sets,
the same for every tool.

- **Peers**, run again: {peers}.
- **Ours** are TARGET/EFFORT: `onnxruntime` targets are emitted and run in
  ONNX Runtime with graph optimizations off, as its own quantizer's files are; `x86-vnni` is the
  integer reference, which the generated C equals on every element (0.005 to 0.13 s an input, so
  that all are evaluated). NNCF's run in OpenVINO on the CPU, with inference precision float32; it
  is told that networks with attention are transformers.
- **Published** is the best figure of each kind in a survey of other tools, on more samples of the
  same sources; not run again.
- **Figures.** A Softmax at an output is cut off of the network that all tools are given: agreement
  (with the float network's answer) and SQNR are those of the logits. `change` is top-1 less that
  of float. `p` is that of McNemar's exact test on top-1, paired by sample, against float. Seconds
  (without imports; `processor` adds up all cores, and is what to compare where the machine had
  other work) and peak memory are those of quantizing, each in a fresh process.
- **Against the best peer**, the one run again with the highest SQNR: p of McNemar's test on top-1
  and on agreement, and the difference of SQNR with a 95 % interval of a paired bootstrap. Bold is
  significant at 5 %; of so many tests, one in twenty would be by chance.
- **Bars.** At 8 bits per channel, `fast`: SQNR and agreement of ONNX Runtime MinMax, top-1 within
  0.5 points of float (1.0 below 1,000 samples and on cct_cifar); `balanced`: the best SQNR and the
  best agreement of all peers, published ones included, and no loss of top-1 beyond noise; `best`:
  2 dB more. The other suites hold `best` to figures of their own, the per-tensor suite `balanced`
  too. Within means up or down. A bar on top-1 that was set on other samples is taken as it is where
  the float network reaches it here, else as the same distance from float.
"""
_COLUMNS = (
    "network", "samples", "tool", "float", "top-1", "change", "p", "agreement", "SQNR dB",
    "against the best peer", "bits", "seconds", "processor", "MB", "bar",
)  # fmt: skip


def page(rows: Sequence[Row], missing: Sequence[Case], versions: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        rows: What was measured, compared and judged, in order.
        missing: What was not.
        versions: Packages, and the machine under its own name.
    """
    names = ",\n  ".join(f"`{name}`: {title}" for name, (title, _) in PEERS.items())
    facts = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = [HEAD.format(peers=names), f"{facts}.", "", *_summary(rows)]
    for suite in SUITES.values():
        own = [row for row in rows if row.case.suite == suite.name]
        if own:
            lines += ["", f"## {suite.name}: {suite.title}", "", *_table(own)]
    lines += ["", "## What is significant", "", *_significant(rows)]
    if missing:
        lines += ["", "## Not measured", "", *_missing(missing)]
    used = dict.fromkeys(row.case.network for row in rows)
    lines += ["", "## Inputs", "", *(f"- {name}: {network(name).note}" for name in used)]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how many bars hold, and every one that does not."""
    judged = [(row, verdict) for row in rows for verdict in row.verdicts]
    missed = [(row, verdict) for row, verdict in judged if not verdict.holds]
    yield f"**{len(judged) - len(missed)} of {len(judged)} bars hold.**"
    if any(row.is_stale for row in rows):
        yield "Rows with † were measured with other sources than the present ones."
    if missed:
        yield from ("", "| missed in | network | tool | bar | found | wanted | short by |")
        yield "|---|---|---|---|---|---|---|"
    for row, verdict in missed:
        case, wanted = row.case, f"{verdict.relation} {verdict.wanted:.2f}"
        yield (
            f"| {case.suite} | {case.network} | {case.tool} | {verdict.figure} | "
            f"{verdict.found:.2f} | {wanted} | {-verdict.margin:.2f} |"
        )


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|" + "---|" * len(_COLUMNS)
    for (suite, name), group in grouped(rows).items():
        published = PUBLISHED.get(suite, {}).get(name)
        if published is not None:
            yield _published(name, published)
        yield from map(line, group)


def _published(name: str, found: Published) -> str:
    cells = [
        name, "", f"published: {found.tools}", _number(found.float_top_1), _number(found.top_1),
        f"{found.top_1 - found.float_top_1:+.2f}", "", _number(found.agreement),
        _number(found.sqnr), "", "", "", "", "", "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def line(row: Row) -> str:
    """Return a row of a table."""
    bits = "" if row.result.bits is None else " / ".join(f"{b:.3g}" for b in row.result.bits)
    cells = [
        row.case.network, str(row.result.outcome.count), row.case.tool + "†" * row.is_stale,
        _number(row.float_top_1), _number(row.top_1),
        "" if row.change is None else f"{row.change:+.2f}", _p(row.p_float),
        _number(row.agreement), " / ".join(f"{value:.2f}" for value in row.sqnr), _against(row),
        bits, f"{row.result.seconds:.1f}", f"{row.result.processor_s:.1f}",
        f"{row.result.peak_mb:.0f}", _bar(row.verdicts),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _against(row: Row) -> str:
    found = row.against
    if found is None:
        return ""
    tests = [("top-1", found.top_1), ("agreement", found.agreement)]
    parts = [f"{name} p {_p(value)}" for name, value in tests if value is not None]
    gains = " / ".join(_gain(gain) for gain in found.gains)
    return "; ".join([f"{found.peer}: {gains} dB", *parts])


def _gain(gain: Gain) -> str:
    text = f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"
    return f"**{text}**" if gain.is_significant else text


def _bar(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    missed = [f"{_asked(v)} by {-v.margin:.2f}" for v in verdicts if not v.holds]
    if missed:
        return f"misses {', '.join(missed)}"
    return f"holds {', '.join(f'{_asked(v)} ({v.margin:+.2f})' for v in verdicts)}"


def _asked(verdict: Verdict) -> str:
    return f"{verdict.figure} {verdict.relation} {verdict.wanted:.2f}"


def _significant(rows: Sequence[Row]) -> Iterator[str]:
    """Yield in words which differences of top-1 and SQNR are beyond noise."""
    tested = [row for row in rows if row.p_float is not None]
    found = [row for row in tested if row.p_float is not None and row.p_float < LEVEL]
    yield (
        f"- Top-1 against float: {len(found)} of {len(tested)} rows differ"
        f"{_listed(f'{_named(row)} {row.change:+.2f} (p {_p(row.p_float)})' for row in found)}"
    )
    for kind in ("top_1", "agreement"):
        beside = [(row, getattr(row.against, kind)) for row in rows if _is_own(row)]
        pairs = [(row, p) for row, p in beside if p is not None]
        differing = [f"{_named(row)} (p {_p(p)})" for row, p in pairs if p < LEVEL]
        yield (
            f"- {kind.replace('_', '-').capitalize()} of ours against the best peer: "
            f"{len(differing)} of {len(pairs)} rows differ{_listed(differing)}"
        )
    gains = [(row, gain) for row in rows if _is_own(row) for gain in _gains(row)]
    better = sum(gain.low > 0 for _, gain in gains)
    worse = [f"{_named(row)} {gain.value:+.2f} dB" for row, gain in gains if gain.high < 0]
    yield (
        f"- SQNR of ours against the best peer: {better} of {len(gains)} outputs are better, "
        f"{len(worse)} worse{_listed(worse)}"
    )


def _is_own(row: Row) -> bool:
    return row.case.is_own and row.against is not None


def _gains(row: Row) -> tuple[Gain, ...]:
    return () if row.against is None else row.against.gains


def _named(row: Row) -> str:
    return str(row.case)


def _listed(items: Iterator[str] | Sequence[str]) -> str:
    text = "; ".join(items)
    return f": {text}." if text else "."


def _missing(missing: Sequence[Case]) -> Iterator[str]:
    """Yield one line a suite and tool."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in missing:
        found.setdefault((case.suite, case.tool), []).append(case.network)
    for (suite, tool), names in found.items():
        whole = names == list(SUITES[suite].networks)
        yield f"- {suite}, {tool}: {'every network' if whole else ', '.join(names)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    text = "<0.001" if value < 0.001 else f"{value:.3f}"
    return f"**{text}**" if value < LEVEL else text
