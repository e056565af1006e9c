"""Streams of random networks: every plan holds, by the verifier and by a follower of bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.ir import Graph, InvariantError, Ring, Stream, verify
from quantable.ir.memory_check import border_values
from quantable.passes.base import PassContext, run_pass
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.passes.plan.streams import find_streams, make_stream
from quantable.targets.description import load_target
from tests.passes.plan.drawn import Follower, chain, followed, networks, placed, streamed, with_plan

QUICK = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@QUICK
@given(streamed())
def test_nothing_that_is_needed_is_overwritten(graph: Graph) -> None:
    verify(graph)
    Follower(graph).run()


@QUICK
@given(streamed(), st.data())
def test_what_the_verifier_lets_pass_holds(graph: Graph, data: st.DataObject) -> None:
    _check_changed(graph, data)


def _check_changed(graph: Graph, data: st.DataObject) -> None:
    """Move a buffer, make a ring smaller, or let turns make other rows."""
    plan = graph.plan
    assert plan is not None
    offsets, streams = dict(plan.offsets), list(plan.streams)
    if offsets:
        moved = data.draw(st.sampled_from(sorted(offsets)))
        offsets[moved] = max(0, offsets[moved] + 16 * data.draw(st.integers(-3, 3)))
    if streams and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(streams) - 1))
        rows = max(1, streams[index].rows + data.draw(st.integers(-1, 2)))
        rings = {n: Ring(max(r.rows - data.draw(st.integers(0, 1)), 1), 0)
                 for n, r in streams[index].rings.items()}  # fmt: skip
        streams[index] = Stream(streams[index].operations, rows, rings)
    changed = with_plan(graph, replace(plan, offsets=offsets, streams=tuple(streams)))
    try:
        verify(changed)
    except InvariantError:
        return
    assert followed(changed)


@settings(QUICK, max_examples=6)
@given(networks())
def test_a_stream_is_taken_only_where_it_saves_memory(graph: Graph) -> None:
    target = load_target("cortex-m4")
    sizes = []
    for stream in (False, True):
        done = run_pass(graph, PlanMemory(stream=stream), PassContext(target=target))
        assert done.plan is not None
        assert bool(done.plan.streams) <= stream
        Follower(done).run()
        sizes.append(done.plan.arena_bytes)
    assert sizes[1] <= sizes[0]
    assert not find_streams(graph, 3) or sizes[1] < sizes[0] or not done.plan.streams


@pytest.mark.fuzz
@settings(QUICK, max_examples=600)
@given(streamed(), st.data())
def test_many_plans(graph: Graph, data: st.DataObject) -> None:
    verify(graph)
    Follower(graph).run()
    _check_changed(graph, data)


def _broken(graph: Graph, **changes: object) -> str:
    assert graph.plan is not None
    changed = replace(graph, plan=replace(graph.plan, **changes))
    assert not followed(changed)
    with pytest.raises(InvariantError) as caught:
        verify(changed)
    return str(caught.value)


def test_a_ring_that_is_too_small_is_refused() -> None:
    graph = _chain()
    assert graph.plan is not None
    (stream,) = graph.plan.streams
    name, ring = next(iter(stream.rings.items()))
    small = replace(stream, rings={name: Ring(ring.rows - 1)})
    assert "is overwritten before it is read last" in _broken(graph, streams=(small,))


def test_buffers_that_meet_are_refused() -> None:
    graph = _chain()
    assert graph.plan is not None
    offsets = dict.fromkeys(graph.plan.offsets, 0)
    assert "overwrites" in _broken(graph, offsets=offsets)


def _chain() -> Graph:
    """Three convolutions of 3 x 3, of which the first two are a stream."""
    graph = chain(3)
    stream = make_stream(graph, graph.operations[:2], 1, border_values(graph), 1)
    assert stream is not None
    made = placed(graph, [stream])
    verify(made)
    Follower(made).run()
    return made
