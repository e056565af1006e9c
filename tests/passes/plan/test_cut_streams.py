"""Parts of a network whose plan has streams: each has a plan that holds."""

from __future__ import annotations

import numpy as np

from quantable.ir import verify
from quantable.ir.memory_check import border_values
from quantable.passes.plan.streams import make_stream
from quantable.passes.subgraph import subgraph
from tests.passes.plan.drawn import Follower, block, placed


def test_any_part_of_a_streamed_network_has_a_plan_that_holds() -> None:
    graph = block()
    stream = make_stream(graph, graph.operations, 2, border_values(graph), 1)
    assert stream is not None
    whole = placed(graph, [stream])
    random, kept = np.random.default_rng(1), 0
    for share in np.linspace(0.3, 1, 40):
        names = {op.name for op in whole.operations if random.random() < share}
        part = subgraph(whole, names)
        verify(part)
        Follower(part).run()
        assert part.plan is not None
        kept += bool(part.plan.streams)
    assert 0 < kept < 40  # the whole is among them
    assert subgraph(whole, {op.name for op in whole.operations}).plan == whole.plan
