"""How constants are packed for cores with Helium: vectors of 16 bytes, as words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LANES = 16
NARROWED = tuple(4 * k + part for part in (0, 2, 1, 3) for k in range(4))
"""Channels of four vectors of sums, as products of bytes are widened twice, and narrowed back: even
halves of even halves first (q_mve_depthwise.h)."""
_LARGEST = 255
"""Two products of bytes fit 16 bits if absolute weights do not exceed this together."""


def packed_blocks(
    weight: npt.NDArray[np.int64], bias: npt.NDArray[np.int64], block: int
) -> npt.NDArray[np.uint32]:
    """Return words [blocks, ...]: biases of a block, then 16 products of each of its channels.

    Args:
        weight: [outputs, products]; filled up with zeros to whole vectors and whole blocks.
        bias: [outputs].
        block: Channels.
    """
    outputs, products = weight.shape
    blocks, vectors = -(-outputs // block), -(-products // LANES)
    full = np.zeros((blocks * block, vectors * LANES), np.int64)
    full[:outputs, :products] = weight
    words = _words(full).reshape(blocks, block, vectors, LANES // 4)
    by_vector = words.transpose(0, 2, 1, 3).reshape(blocks, -1)
    biases = np.zeros(blocks * block, np.uint32)
    biases[:outputs] = (bias & 0xFFFFFFFF).astype(np.uint32)
    return np.concatenate([biases.reshape(blocks, block), by_vector], axis=1)


def filled(values: npt.NDArray[np.float32], multiple: int) -> npt.NDArray[np.float32]:
    """Return values with zeros behind them, a whole number of times so many."""
    full = np.zeros(-(-values.size // multiple) * multiple, np.float32)
    full[: values.size] = values
    return full


def fits_pairs(weight: npt.NDArray[np.int64]) -> bool:
    """Whether the products of taps 0 and 1, 2 and 3 .. fit 16 bits together.

    Args:
        weight: [channels, taps].
    """
    even, odd = np.abs(weight[:, 0::2]), np.abs(weight[:, 1::2])
    return bool((even[:, : odd.shape[1]] + odd <= _LARGEST).all())


def packed_depthwise(
    weight: npt.NDArray[np.int64],
    bias: npt.NDArray[np.int64],
    multiplier: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint32]:
    """Return words [blocks of 16 channels, ...]: biases, weights tap by tap, multipliers.

    Biases and multipliers lie as `NARROWED` says.

    Args:
        weight: [channels, taps].
        bias, multiplier: [channels].
    """
    channels, taps = weight.shape
    blocks = -(-channels // LANES)
    full = np.zeros((blocks * LANES, taps), np.int64)
    full[:channels] = weight
    by_tap = full.reshape(blocks, LANES, taps).transpose(0, 2, 1)
    rows = []
    for values in ((bias & 0xFFFFFFFF).astype(np.uint32), np.ascontiguousarray(multiplier)):
        padded = np.zeros(blocks * LANES, np.uint32)
        padded[:channels] = values.view(np.uint32)
        rows.append(padded.reshape(blocks, LANES)[:, NARROWED])
    return np.concatenate([rows[0], _words(by_tap).reshape(blocks, -1), rows[1]], axis=1)


def _words(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Return bytes as words, the first byte in the lowest bits."""
    return np.ascontiguousarray(values & 0xFF, np.uint8).view("<u4").astype(np.uint32)
