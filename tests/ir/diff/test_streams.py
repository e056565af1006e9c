"""What a diff says about the streams of a memory plan."""

from __future__ import annotations

from dataclasses import replace

from quantable.ir import Graph, Stream
from quantable.ir.diff import diff_graphs
from quantable.ir.memory_check import border_values
from quantable.passes.plan.streams import make_stream
from tests.ir.diff.names import renamed
from tests.passes.plan.drawn import chain, placed


def _streamed(rows: int) -> Graph:
    graph = chain(3)
    stream = make_stream(graph, graph.operations[:2], rows, border_values(graph), 1)
    assert stream is not None
    return placed(graph, [stream])


def _changes(a: Graph, b: Graph) -> list[tuple[str, str, str]]:
    return [(c.name, c.before, c.after) for c in diff_graphs(a, b).metadata]


def test_other_rows_and_rings_are_reported_and_other_names_are_not() -> None:
    one, other = _streamed(1), _streamed(2)
    assert _changes(one, renamed(one, 3, fresh=True)) == []
    first = one.operations[0].name
    expected = (
        f"stream of {first}", "opv0, opv1: 1 rows, keeps v0 3+1",
        "opv0, opv1: 2 rows, keeps v0 4+1",
    )  # fmt: skip
    assert expected in _changes(one, renamed(other, 3, fresh=True))


def test_streams_that_are_gone_and_another_order_of_pixels_are_reported() -> None:
    one = _streamed(1)
    assert one.plan is not None
    without = replace(one, plan=replace(one.plan, is_ordered=False, streams=()))
    (stream,) = one.plan.streams
    assert isinstance(stream, Stream)
    assert _changes(one, without) == [
        ("order of pixels", "ascending", "any"),
        ("stream of opv0", "opv0, opv1: 1 rows, keeps v0 3+1", "-"),
    ]
