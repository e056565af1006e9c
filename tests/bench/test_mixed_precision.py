"""The table of searches over bit widths, on a small network with few samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantable.bench import mixed_precision
from quantable.bench.datasets import DEFAULT_SHARED, Network, Samples, network


def few(name: str) -> Network:
    """Return a network with the first samples of each set."""
    item = network(name)

    def samples(shared: Path, split: str) -> Samples:
        found = item.samples(shared, split)
        assert found.labels is not None
        return replace(found, count=16, labels=found.labels[:16])

    return replace(item, samples=samples)


@pytest.mark.skipif(not DEFAULT_SHARED.is_dir(), reason="needs the folder of shared networks")
def test_budgets_are_kept_in_what_is_emitted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mixed_precision, "network", few)
    monkeypatch.setattr(mixed_precision, "SEARCHES", mixed_precision.SEARCHES[1:])
    mixed_precision.main(["resnet8"])
    header, _, given, searched = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    )
    row = dict(zip(header, searched, strict=True))
    weights, activations = (float(bits) for bits in row["bits"].split(" / "))
    assert 4.5 < weights <= 5.0
    assert 4.5 < activations <= 5.0
    plain = dict(zip(header, given, strict=True))
    assert float(row["measured"]) < float(plain["measured"])
