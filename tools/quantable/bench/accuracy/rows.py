"""From results to the rows of the page: figures, tests of significance, bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantable.bench.accuracy.bars import (
    BARS,
    FAST_PEER,
    PUBLISHED,
    Bar,
    Verdict,
    at_least,
    at_most,
    fast_within,
    least_top_1,
)
from quantable.bench.accuracy.outcome import Outcome, Reference, percent
from quantable.bench.accuracy.results import Result
from quantable.bench.accuracy.significance import LEVEL, Gain, mcnemar, sqnr_gain
from quantable.bench.accuracy.suites import Case


@dataclass(frozen=True)
class Against:
    """A row beside the best peer of its suite and network that was run again.

    Attributes:
        peer: The one with the highest SQNR.
        gains: SQNR, by output.
        top_1, agreement: p of McNemar's test; None where there is no such figure.
    """

    peer: str
    gains: tuple[Gain, ...]
    top_1: float | None
    agreement: float | None


@dataclass(frozen=True)
class Row:
    """One line of the page.

    Attributes:
        case: Suite, network, tool.
        result: What was measured.
        sqnr: Decibels, by output.
        agreement, top_1, float_top_1: Percent; None where there is no such figure.
        p_float: McNemar's p of top-1 against float.
        against: The best peer; None for that peer itself, and where there is none.
        verdicts: The row's bars.
        is_stale: Whether the result is of other sources.
    """

    case: Case
    result: Result
    sqnr: tuple[float, ...]
    agreement: float | None
    top_1: float | None
    float_top_1: float | None
    p_float: float | None
    is_stale: bool = False
    against: Against | None = None
    verdicts: tuple[Verdict, ...] = field(default=())

    @property
    def change(self) -> float | None:
        """Top-1 less that of the float network, in points."""
        if self.top_1 is None or self.float_top_1 is None:
            return None
        return self.top_1 - self.float_top_1

    @property
    def effort(self) -> str:
        """The effort of one of our rows, '' of a peer's."""
        return self.case.tool.partition("/")[2]


def row(case: Case, result: Result, real: Reference, *, is_stale: bool = False) -> Row:
    """Return the figures of one result, not yet beside others."""
    outcome = result.outcome
    right = real.right
    return Row(
        case,
        result,
        tuple(outcome.sqnr(real.signal)),
        None if outcome.agreeing is None else percent(outcome.agreeing),
        None if outcome.right is None else percent(outcome.right),
        None if right is None else percent(right),
        None if right is None or outcome.right is None else mcnemar(outcome.right, right),
        is_stale,
    )


def compared(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one suite and network beside the best peer and their bars."""
    peers = [row for row in rows if not row.case.is_own]
    best = max(peers, key=lambda peer: _mean(peer.sqnr), default=None)
    return [_judged(_beside(row, best), peers) for row in rows]


def _beside(row: Row, best: Row | None) -> Row:
    if best is None or row is best:
        return row
    mine, other = row.result.outcome, best.result.outcome
    gains = tuple(sqnr_gain(a, b) for a, b in zip(mine.noise, other.noise, strict=True))
    against = Against(
        best.case.tool, gains, _paired(mine, other, "right"), _paired(mine, other, "agreeing")
    )
    return replace(row, against=against)


def _paired(mine: Outcome, other: Outcome, kind: str) -> float | None:
    first, second = getattr(mine, kind), getattr(other, kind)
    return None if first is None or second is None else mcnemar(first, second)


def _judged(row: Row, peers: Sequence[Row]) -> Row:
    if not row.case.is_own:
        return row
    verdicts = []
    if row.case.suite == "w8a8" and row.effort == "fast":
        verdicts += _fast(row, peers)
    for bar in BARS.get(row.case.suite, {}).get(row.case.network, ()):
        if row.effort in bar.efforts:
            verdicts += judge(row, bar, peers)
    return replace(row, verdicts=tuple(verdicts))


def judge(row: Row, bar: Bar, peers: Sequence[Row]) -> list[Verdict]:
    """Return a verdict on each figure that a bar asks for."""
    found = []
    if bar.ahead is not None:
        found += _ahead(row, bar.ahead, peers)
    if bar.agreement is not None and row.agreement is not None:
        found.append(at_least("agreement", row.agreement, bar.agreement))
    if bar.top_1 is not None and row.top_1 is not None and row.float_top_1 is not None:
        found.append(at_least("top-1", row.top_1, least_top_1(bar, row.float_top_1)))
    if bar.within is not None and row.change is not None:
        found.append(at_most("distance of top-1", abs(row.change), bar.within))
    if bar.bits is not None and row.result.bits is not None:
        found.append(at_most("bits of weights", row.result.bits[0], bar.bits))
        found.append(at_most("bits of activations", row.result.bits[1], bar.bits))
    if bar.no_loss and row.change is not None and row.p_float is not None:
        is_noise = row.change >= 0 or row.p_float >= LEVEL
        margin = 0.0 if is_noise else row.change
        found.append(Verdict("change beyond noise", row.change, 0.0, margin))
    return found


def _ahead(row: Row, decibels: float, peers: Sequence[Row]) -> list[Verdict]:
    """Beat the best figure of all peers, published ones included, each figure by itself."""
    published = PUBLISHED.get(row.case.suite, {}).get(row.case.network)
    found = []
    for index, mine in enumerate(row.sqnr):
        others = [peer.sqnr[index] for peer in peers]
        if published is not None:
            others.append(published.sqnr)
        if others:
            found.append(at_least(_sqnr(row, index), mine, max(others) + decibels))
    agreements = [peer.agreement for peer in peers if peer.agreement is not None]
    if published is not None:
        agreements.append(published.agreement)
    if row.agreement is not None and agreements:
        found.append(at_least("agreement", row.agreement, max(agreements)))
    return found


def _fast(row: Row, peers: Sequence[Row]) -> list[Verdict]:
    found = []
    for peer in peers:
        if peer.case.tool != FAST_PEER:
            continue
        pairs = zip(row.sqnr, peer.sqnr, strict=True)
        found += [at_least(_sqnr(row, i), mine, other) for i, (mine, other) in enumerate(pairs)]
        if row.agreement is not None and peer.agreement is not None:
            found.append(at_least("agreement", row.agreement, peer.agreement))
    if row.change is not None:
        most = fast_within(row.result.outcome.count, row.case.network)
        found.append(at_most("distance of top-1", abs(row.change), most))
    return found


def grouped(rows: Sequence[Row]) -> Mapping[tuple[str, str], list[Row]]:
    """Return the rows by suite and network, in order."""
    found: dict[tuple[str, str], list[Row]] = {}
    for item in rows:
        found.setdefault((item.case.suite, item.case.network), []).append(item)
    return found


def _sqnr(row: Row, index: int) -> str:
    return "SQNR" if len(row.sqnr) == 1 else f"SQNR of output {index + 1}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
