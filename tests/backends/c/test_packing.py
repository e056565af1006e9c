"""Packed constants hold every weight once, where kernels look for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantable.backends.c import x86
from quantable.backends.c.packing import (
    QUAD,
    Block,
    Layout,
    Outputs,
    cut,
    order,
    packed_channels,
    packed_columns,
    packed_weights,
)

SIZES = st.integers(1, 300)
X86 = x86.KERNELS.layout
NARROW = Layout(4, 8, {1: 12, 2: 10, 3: 7}, lambda pixels, vectors: pixels * vectors + 1, False)
"""Another one: fewer lanes, more products in a group, lanes in the order of channels."""
LAYOUTS = st.sampled_from([X86, NARROW])


@given(lines=SIZES, pixels=SIZES, limit=st.sampled_from(sorted(X86.pixels.values())))
def test_tiles_cover_every_pixel_once(lines, pixels, limit):
    tiles = Outputs(lines, pixels).tiles(limit)
    assert sum(count * held for count, held in tiles) == lines * pixels
    assert all(held <= limit for count, held in tiles if count)


@given(layout=LAYOUTS, channels=SIZES, lines=SIZES, pixels=SIZES)
def test_blocks_cover_every_channel_once(layout, channels, lines, pixels):
    blocks = cut(layout, channels, Outputs(lines, pixels))
    covered = [c for block in blocks for c in range(block.first, block.first + block.channels)]
    assert covered == list(range(channels))
    for block in blocks:
        lanes = layout.lanes * block.vectors
        assert (block.blocks - 1) * lanes < block.channels <= block.blocks * lanes


def test_a_wide_layer_gets_the_tile_with_the_fewest_cycles():
    """14 pixels times 32 outputs suit lines of 14, six times 64 those of 6: both have no waste.

    Four times 64 would suit lines of 8 if weights did not come from the second cache: eight times
    32 have as many products and half the weights. 197 pixels, no multiple of 14, share their
    values among 64 outputs.
    """
    assert {block.vectors for block in cut(X86, 256, Outputs(14, 14))} == {2}
    assert {block.vectors for block in cut(X86, 256, Outputs(6, 6))} == {4}
    assert {block.vectors for block in cut(X86, 64, Outputs(8, 8))} == {2}
    assert {block.vectors for block in cut(X86, 192, Outputs(1, 197))} == {4}


@given(layout=LAYOUTS, vectors=st.integers(1, 3), is_words=st.booleans())
def test_every_lane_has_a_channel_of_its_own(layout, vectors, is_words):
    channels = list(range(layout.lanes * vectors))
    assert sorted(order(layout, vectors, is_words=is_words)) == channels


@given(
    LAYOUTS, st.integers(1, 150), st.integers(1, 3), st.integers(1, 9), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_packed_products_are_those_of_the_layer(layout, outputs, runs, run, is_words, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(-128, 128, (outputs, runs, run))
    x = random.integers(0, 256, (runs, run))
    groups = -(-run // layout.group)
    padded = np.pad(x, ((0, 0), (0, groups * layout.group - run)))
    padded = padded.reshape(runs, groups, layout.group)
    found = np.zeros(outputs, np.int64)
    for block in cut(layout, outputs, Outputs(3, 5)):
        packed = packed_weights(layout, weight, block, is_words=is_words)
        sums = np.einsum("brqlk,rqk->bl", packed, padded)
        channel = order(layout, block.vectors, is_words=is_words)
        by_channel = np.empty_like(sums)
        by_channel[:, channel] = sums
        held = by_channel.reshape(-1)[: block.channels]
        found[block.first : block.first + block.channels] = held
        ones = np.arange(1, outputs + 1)
        names = packed_channels(layout, ones, block, is_words=is_words)
        own = names[names > 0] - 1
        assert sorted(own) == list(range(block.first, block.first + block.channels))
    np.testing.assert_array_equal(found, np.einsum("ork,rk->o", weight, x))


@given(
    LAYOUTS, st.integers(1, 150), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1)
)
def test_packed_columns_are_those_of_the_layer(layout, channels, rows, columns, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(-128, 128, (channels, rows, columns))
    x = random.integers(0, 256, (rows, columns))
    lanes = 4 * layout.lanes
    packed = packed_columns(layout, weight, Block(4, -(-channels // lanes), 0, channels))
    quads = -(-rows // QUAD)
    padded = np.pad(x, ((0, quads * QUAD - rows), (0, 0))).reshape(quads, QUAD, columns)
    sums = np.einsum("bcqlk,qkc->bl", packed, padded)
    by_channel = np.empty_like(sums)
    by_channel[:, order(layout, 4, is_words=False)] = sums
    expected = np.einsum("orc,rc->o", weight, x)
    np.testing.assert_array_equal(by_channel.reshape(-1)[:channels], expected)
