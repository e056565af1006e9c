"""How constants are packed for the kernels of Cortex-M4 and M7: blocks of channels, as words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.backends.c.accumulators import Layer

GROUP = 4
"""Products that are computed together: two instructions of two."""
JOINED_SCALE = 256
_TAKEN = (128, 255)
"""What joined inputs are less than the stored ones, by their place in a pair (q_dsp_tile.h)."""
_SMALLEST = 2.0**-100
"""Multipliers above can be divided by 256 exactly."""


def is_joined(layer: Layer) -> bool:
    """Whether two weights fit one 16-bit number, and sums 256 times as large int32.

    Args:
        layer: Weights [outputs, runs, run], the zero point of the input in the bias.
    """
    even, odd = _pairs(_filled_runs(layer.weight, 1))
    joined = JOINED_SCALE * odd + even
    return (
        joined.min(initial=0) >= -(2**15)
        and layer.reach * JOINED_SCALE < 2**31
        and bool((layer.multiplier >= _SMALLEST).all())
    )


def packed_layer(layer: Layer, block: int) -> npt.NDArray[np.uint32]:
    """Return what each block of `block` channels reads: bias, weights, multipliers.

    The layer is as in `is_joined`. Runs are filled up to whole groups, channels to whole blocks,
    with zeros.
    """
    full, bias, multiplier = _filled_runs(layer.weight, block), layer.bias, layer.multiplier
    channels = full.shape[0]
    if is_joined(layer):
        even, odd = _pairs(full)
        taken = (_TAKEN[0] * even + _TAKEN[1] * odd).sum(axis=1)[: bias.size]
        bias = (bias + taken) * JOINED_SCALE
        multiplier = multiplier / np.float32(JOINED_SCALE)
        joined = JOINED_SCALE * odd + even
        full = np.stack([joined & 0xFF, joined >> 8], axis=-1).reshape(channels, -1)
    words = np.ascontiguousarray(full & 0xFF, np.uint8).view("<u4").astype(np.uint32)
    by_block = words.reshape(channels // block, block, -1).transpose(0, 2, 1)
    return packed_blocks(by_block, bias, multiplier)


def packed_taps(weight: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Return weights [channels, taps] as [fours, pairs, 4]: pairs of 16-bit numbers, as words."""
    channels, taps = weight.shape
    full = np.zeros((-(-channels // 4) * 4, -(-taps // 2) * 2), np.int64)
    full[:channels, :taps] = weight
    low, high = full[:, 0::2] & 0xFFFF, full[:, 1::2] & 0xFFFF
    words = (low | high << 16).astype(np.uint32)
    return words.reshape(-1, 4, words.shape[1]).transpose(0, 2, 1)


def packed_blocks(
    weight: npt.NDArray[np.uint32],
    bias: npt.NDArray[np.int64],
    multiplier: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint32]:
    """Return weights [blocks, words, channels of a block] between the bias and the multipliers."""
    count, _, block = weight.shape
    columns = []
    for values in ((bias & 0xFFFFFFFF).astype(np.uint32), np.ascontiguousarray(multiplier)):
        full = np.zeros(count * block, np.uint32)
        full[: values.size] = values.view(np.uint32)
        columns.append(full.reshape(count, block))
    return np.concatenate([columns[0], weight.reshape(count, -1), columns[1]], axis=1)


def _filled_runs(weight: npt.NDArray[np.int64], block: int) -> npt.NDArray[np.int64]:
    """Return weights [outputs, runs, run] as [outputs of whole blocks, bytes of whole groups]."""
    channels, runs, length = weight.shape
    full = np.zeros((-(-channels // block) * block, runs, -(-length // GROUP) * GROUP), np.int64)
    full[:channels, :, :length] = weight
    return full.reshape(full.shape[0], -1)


def _pairs(full: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return full[:, 0::2], full[:, 1::2]
