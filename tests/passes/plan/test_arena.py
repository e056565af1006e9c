"""Placement of buffers: nothing overlaps, no size is claimed that cannot be, small ones optimal."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.passes.plan.arena import place
from quantable.passes.plan.storage import Buffer, largest_live_set


@st.composite
def problems(draw: st.DrawFn, largest: int = 24) -> list[Buffer]:
    count = draw(st.integers(1, largest))
    buffers = []
    for index in range(count):
        first = draw(st.integers(0, count))
        last = first + draw(st.integers(0, 5))
        buffers.append(Buffer((f"v{index}",), draw(st.integers(0, 100)), first, last))
    return buffers


def _check(buffers: list[Buffer], alignment: int, size: int, offsets: list[int]) -> None:
    assert size == max(o + b.size for o, b in zip(offsets, buffers, strict=True))
    assert all(offset % alignment == 0 for offset in offsets)
    for (i, a), (j, b) in itertools.combinations(enumerate(buffers), 2):
        if a.overlaps(b) and a.size and b.size:
            apart = offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]
            assert apart, (a, b)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems(), st.sampled_from([1, 16]))
def test_no_two_live_buffers_overlap(buffers: list[Buffer], alignment: int) -> None:
    size, offsets = place(buffers, alignment, nodes=300)
    _check(buffers, alignment, size, offsets)
    assert size >= largest_live_set(buffers, alignment)
    assert (size, offsets) == place(buffers, alignment, nodes=300)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems(largest=6))
def test_small_problems_are_optimal(buffers: list[Buffer]) -> None:
    size, _ = place(buffers, 1)
    assert size == min(_first_fit(buffers, order) for order in _orders(len(buffers)))


def _orders(count: int) -> itertools.permutations[int]:
    return itertools.permutations(range(count))


def _first_fit(buffers: list[Buffer], order: tuple[int, ...]) -> int:
    """Return the arena that first fit needs for an order; the best order is optimal."""
    placed: list[tuple[int, Buffer]] = []
    for index in order:
        buffer = buffers[index]
        taken = [(o, o + b.size) for o, b in placed if b.overlaps(buffer)]
        spots = sorted({0, *(high for _, high in taken)})
        at = next(
            spot
            for spot in spots
            if all(spot + buffer.size <= low or spot >= high for low, high in taken)
        )
        placed.append((at, buffer))
    return max(offset + buffer.size for offset, buffer in placed)


def test_first_fit_alone_would_waste_memory() -> None:
    # By size: a at 0, b at 4 (both live at 1), c at 0 beside b, d above; the bound needs another.
    buffers = [Buffer((n,), size, first, last) for n, size, first, last in [
        ("a", 4, 0, 1), ("b", 4, 1, 2), ("c", 3, 2, 3), ("d", 3, 3, 4), ("e", 5, 3, 5),
        ("f", 2, 0, 4),
    ]]  # fmt: skip
    size, offsets = place(buffers, 1)
    _check(buffers, 1, size, offsets)
    assert size == largest_live_set(buffers, 1) == 13


def test_bound_counts_the_padding_below_the_topmost_buffer() -> None:
    both = [Buffer(("a",), 10, 0, 1), Buffer(("b",), 20, 0, 1)]
    assert largest_live_set(both, 16) == 16 + 20
    assert place(both, 16)[0] == 36
