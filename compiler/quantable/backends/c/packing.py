"""How weights are packed for kernels with vectors, and how outputs are cut into blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

QUAD = 4
"""Rows of a column that lie side by side; inputs are read up to whole quads, too."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a set of kernels wants its constants.

    Attributes:
        lanes: Outputs that one vector of a block has.
        group: Products of one output that lie side by side, and are summed up by one instruction.
        pixels: Output pixels that a tile holds at most, by the number of vectors each.
        cost: Of one group of a tile of (pixels, vectors); any unit.
        is_in_fours: Whether accumulators are narrowed to bytes in groups of four lanes.
        has_long_tiles: Whether a tile goes on in the next line; else it is a piece of a line, or
            whole lines.
    """

    lanes: int
    group: int
    pixels: Mapping[int, int]
    cost: Callable[[int, int], float]
    is_in_fours: bool
    has_long_tiles: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """The output pixels of one image: lines of the same number of pixels."""

    lines: int
    pixels: int

    def tiles(self, limit: int) -> list[tuple[int, int]]:
        """Return (number of tiles, pixels in each), for tiles of at most `limit` pixels.

        As kernels cut them: several lines where two have room, else equal pieces of a line.
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
        vectors: Vectors of channels in a block.
        blocks: How many blocks.
        first: The first channel.
        channels: Channels in all; the last block may hold fewer than it has lanes.
    """

    vectors: int
    blocks: int
    first: int
    channels: int


def cut(layout: Layout, channels: int, outputs: Outputs) -> list[Block]:
    """Return the blocks that cost least: whole ones, and what is left."""
    found = [_cut_by(layout, channels, v) for v in sorted(layout.pixels, reverse=True)]
    return min(found, key=lambda blocks: sum(_cost(layout, block, outputs) for block in blocks))


def _cut_by(layout: Layout, channels: int, vectors: int) -> list[Block]:
    needed = -(-channels // layout.lanes)
    whole, rest = divmod(needed, vectors)
    blocks = []
    if whole:
        held = min(channels, whole * vectors * layout.lanes)
        blocks.append(Block(vectors, whole, 0, held))
    if rest:
        first = whole * vectors * layout.lanes
        blocks.append(Block(rest, 1, first, channels - first))
    return blocks


def _cost(layout: Layout, block: Block, outputs: Outputs) -> float:
    limit = layout.pixels[block.vectors]
    if layout.has_long_tiles:
        whole, rest = divmod(outputs.lines * outputs.pixels, limit)
        tiles = [(whole, limit), (min(rest, 1), rest)]
    else:
        tiles = outputs.tiles(limit)
    return block.blocks * sum(count * layout.cost(held, block.vectors) for count, held in tiles)


def order(layout: Layout, vectors: int, *, is_words: bool) -> npt.NDArray[np.intp]:
    """Return the channel that each lane of a block has.

    Where bytes are narrowed in groups of four lanes, 16-bit integers are not.
    """
    lane = np.arange(layout.lanes * vectors)
    if is_words or not layout.is_in_fours:
        return lane
    vector, four, within = lane // layout.lanes, lane % layout.lanes // 4, lane % 4
    return 4 * (vectors * four + vector) + within


def packed_weights(
    layout: Layout, weight: npt.NDArray[np.int64], block: Block, *, is_words: bool
) -> npt.NDArray[np.int64]:
    """Return weights [outputs, runs, run] of a block as [blocks, runs, groups, lanes, group].

    Runs are filled up to whole groups, blocks to whole lanes, with zeros.
    """
    _, runs, length = weight.shape
    groups, lanes = -(-length // layout.group), layout.lanes * block.vectors
    full = np.zeros((block.blocks * lanes, runs, groups * layout.group), np.int64)
    full[: block.channels, :, :length] = weight[block.first : block.first + block.channels]
    by_lane = full.reshape(block.blocks, lanes, runs, groups, layout.group)
    by_lane = by_lane[:, order(layout, block.vectors, is_words=is_words)]
    return by_lane.transpose(0, 2, 3, 1, 4)


def packed_channels(
    layout: Layout, values: npt.NDArray[np.generic], block: Block, *, is_words: bool
) -> npt.NDArray[np.generic]:
    """Return one value a channel as [blocks, lanes], 0 where a lane has no channel."""
    lanes = layout.lanes * block.vectors
    full = np.zeros(block.blocks * lanes, values.dtype)
    full[: block.channels] = values[block.first : block.first + block.channels]
    found: npt.NDArray[np.generic] = full.reshape(block.blocks, lanes)
    return found[:, order(layout, block.vectors, is_words=is_words)]


def packed_columns(
    layout: Layout, weight: npt.NDArray[np.int64], block: Block
) -> npt.NDArray[np.int64]:
    """Return weights [channels, rows, columns] as [blocks, columns, quads, lanes, 4].

    Rows are filled up to whole quads, channels to whole blocks, with zeros.
    """
    channels, rows, columns = weight.shape
    quads, lanes = -(-rows // QUAD), layout.lanes * block.vectors
    full = np.zeros((block.blocks * lanes, quads * QUAD, columns), np.int64)
    full[:channels, :rows] = weight
    by_lane = full.reshape(block.blocks, lanes, quads, QUAD, columns)
    return by_lane[:, order(layout, block.vectors, is_words=False)].transpose(0, 4, 2, 1, 3)
