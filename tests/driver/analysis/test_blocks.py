"""Grids of weights in blocks: their ends, and what the remedies make of them."""

from __future__ import annotations

import numpy as np

from quantable.driver.analysis.grids import beyond, ends, refined
from quantable.driver.analysis.rows import per_channel
from quantable.ir import (
    Granularity,
    QuantizationParameters,
    QuantizationPolicy,
    TensorQuantizationConfig,
)

BLOCKS = TensorQuantizationConfig(
    QuantizationPolicy(Granularity.PER_BLOCK), 4, quant_min=-8, quant_max=7, channel_axis=0,
    block_size=2,
)  # fmt: skip
ROW = QuantizationParameters("w").filled([1.0, 2.0, 4.0, 8.0], 0, "test")  # [2, 2] of [3, 2]


def test_every_block_has_ends_of_its_own() -> None:
    low, high = ends(BLOCKS, ROW, (3, 2))
    assert high.tolist() == [[7, 14], [7, 14], [28, 56]]
    assert low.tolist() == [[-8, -16], [-8, -16], [-32, -64]]


def test_what_a_block_clips_lies_beyond_its_own_ends() -> None:
    values = np.asarray([[7.5, 7.5], [-8.5, 20.0], [27.0, 57.0]], np.float32)
    assert beyond(values, BLOCKS, ROW).tolist() == [[True, False], [True, True], [False, True]]


def test_other_grids_are_made_from_blocks() -> None:
    finer, row = refined(BLOCKS, ROW, 4)
    assert (finer.bits, finer.block_size, row.scale[0]) == (8, 2, 1 / 16)
    channels = per_channel(BLOCKS, 1)
    assert (channels.policy.is_per_channel, channels.channel_axis) == (True, 1)
    assert channels.block_size == 0
