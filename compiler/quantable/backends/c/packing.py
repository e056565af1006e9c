"""How weights are packed for the kernels of x86-64, and how outputs are cut into blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LANES = 16
"""Outputs that one vector of accumulators has."""
QUAD = 4
"""Products that one instruction sums up."""
PIXELS = {1: 14, 2: 14, 3: 9, 4: 6}
"""Output pixels that a tile holds at most, by the number of vectors each (32 registers)."""
_LATENCY = 5
"""Cycles before the next product can be added to an accumulator."""
_LOOP = 0.5
"""Cycles of a step that are not products: large tiles have fewer steps."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The output pixels of one image: lines of the same number of pixels."""

    lines: int
    pixels: int

    def tiles(self, limit: int) -> list[tuple[int, int]]:
        """Return (number of tiles, pixels in each), for tiles of at most `limit` pixels.

        As q_gemm.h cuts them: several lines where two have room, else equal pieces of a line.
        """
        tall = min(limit // self.pixels, self.lines)
        if tall > 1:
            rest = self.lines % tall
            return [(self.lines // tall, tall * self.pixels), (min(rest, 1), rest * self.pixels)]
        pieces = -(-self.pixels // limit)
        narrow, wider = divmod(self.pixels, pieces)
        return [(self.lines * wider, narrow + 1), (self.lines * (pieces - wider), narrow)]


@dataclass(frozen=True, slots=True)
class Block:
    """Output channels that are computed with one kernel instance.

    Attributes:
        vectors: Vectors of 16 channels in a block.
        blocks: How many blocks.
        first: The first channel.
        channels: Channels in all; the last block may hold fewer than it has lanes.
    """

    vectors: int
    blocks: int
    first: int
    channels: int


def cut(channels: int, outputs: Outputs) -> list[Block]:
    """Return the blocks that take the fewest cycles: whole ones, and what is left."""
    found = [_cut_by(channels, vectors) for vectors in sorted(PIXELS, reverse=True)]
    return min(found, key=lambda blocks: sum(_cycles(block, outputs) for block in blocks))


def _cut_by(channels: int, vectors: int) -> list[Block]:
    needed = -(-channels // LANES)
    whole, rest = divmod(needed, vectors)
    blocks = []
    if whole:
        held = min(channels, whole * vectors * LANES)
        blocks.append(Block(vectors, whole, 0, held))
    if rest:
        first = whole * vectors * LANES
        blocks.append(Block(rest, 1, first, channels - first))
    return blocks


def _cycles(block: Block, outputs: Outputs) -> float:
    """Return about the cycles of one quad: two products, or two loads, each."""
    v = block.vectors
    tiles = outputs.tiles(PIXELS[v])
    return block.blocks * sum(
        count * (max(pixels * v / 2, (pixels + v) / 2, _LATENCY) + _LOOP) for count, pixels in tiles
    )


def order(vectors: int, *, is_words: bool) -> npt.NDArray[np.intp]:
    """Return the channel that each lane of a block has.

    Bytes are narrowed in groups of four lanes, 16-bit integers are not.
    """
    lane = np.arange(LANES * vectors)
    vector, four, within = lane // LANES, lane % LANES // 4, lane % 4
    return lane if is_words else 4 * (vectors * four + vector) + within


def packed_weights(
    weight: npt.NDArray[np.int64], block: Block, *, is_words: bool
) -> npt.NDArray[np.int64]:
    """Return weights [outputs, runs, run] of a block's channels as [blocks, runs, quads, lanes, 4].

    Runs are filled up to whole quads, blocks to whole lanes, with zeros.
    """
    _, runs, length = weight.shape
    quads, lanes = -(-length // QUAD), LANES * block.vectors
    full = np.zeros((block.blocks * lanes, runs, quads * QUAD), np.int64)
    full[: block.channels, :, :length] = weight[block.first : block.first + block.channels]
    by_lane = full.reshape(block.blocks, lanes, runs, quads, QUAD)
    by_lane = by_lane[:, order(block.vectors, is_words=is_words)]
    return by_lane.transpose(0, 2, 3, 1, 4)


def packed_channels(
    values: npt.NDArray[np.generic], block: Block, *, is_words: bool
) -> npt.NDArray[np.generic]:
    """Return one value a channel as [blocks, lanes], 0 where a lane has no channel."""
    lanes = LANES * block.vectors
    full = np.zeros(block.blocks * lanes, values.dtype)
    full[: block.channels] = values[block.first : block.first + block.channels]
    found: npt.NDArray[np.generic] = full.reshape(block.blocks, lanes)
    return found[:, order(block.vectors, is_words=is_words)]


def packed_columns(weight: npt.NDArray[np.int64], block: Block) -> npt.NDArray[np.int64]:
    """Return weights [channels, rows, columns] as [blocks, columns, quads, lanes, 4].

    Rows are filled up to whole quads, channels to whole blocks, with zeros.
    """
    channels, rows, columns = weight.shape
    quads, lanes = -(-rows // QUAD), LANES * block.vectors
    full = np.zeros((block.blocks * lanes, quads * QUAD, columns), np.int64)
    full[:channels, :rows] = weight
    by_lane = full.reshape(block.blocks, lanes, quads, QUAD, columns)
    return by_lane[:, order(block.vectors, is_words=False)].transpose(0, 4, 2, 1, 3)
