"""Small networks of many families, written by torch's exporters and by script."""

from __future__ import annotations

from quantable.bench.families.detector import DETECTOR, DETECTOR_HEAD
from quantable.bench.families.family import Family
from quantable.bench.families.language import BERT, DECODER
from quantable.bench.families.recurrent import (
    BIDIRECTIONAL_GRU,
    BIDIRECTIONAL_LSTM,
    GRU,
    LSTM,
)
from quantable.bench.families.vision import CONVNEXT, UNETS, VIT

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        LSTM, BIDIRECTIONAL_LSTM, GRU, BIDIRECTIONAL_GRU, DETECTOR, DETECTOR_HEAD, *UNETS, VIT,
        BERT, CONVNEXT, DECODER,
    )
}  # fmt: skip
"""Every family by name."""
