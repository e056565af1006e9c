"""The digest covers every field but history and store, and depends on nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from quantable.ir import (
    ContentStore,
    Granularity,
    Graph,
    InvariantError,
    Level,
    MemoryPlan,
    Operation,
    QuantizationParameters,
    QuantizationPolicy,
    StageRecord,
    graph_digest,
)

KNOWN = "8d9cf6442d99d691a9263ffa4414bcae5b81d31bcdb8a8dbe0b7ab7b4c172ae9"
"""Digest of the fixture's graph, from before there were blocks."""


def _changed(graph: Graph) -> dict[str, Any]:
    first = graph.operations[0]
    return {
        "name": "other", "level": Level.FLOAT, "opset": 20, "inputs": (), "outputs": (),
        "values": {n: v for n, v in graph.values.items() if n != "c"},
        "operations": (replace(first, attributes={"group": 2}), *graph.operations[1:]),
        "parameters": {}, "rows": {}, "target": "", "plan": MemoryPlan(0, 64, {}),
        "metadata": {"a": "b"},
    }  # fmt: skip


def test_every_field_counts(graph: Graph) -> None:
    changed = _changed(graph)
    assert set(changed) == {f.name for f in fields(Graph)} - {"history", "store", "library"}
    digests = {graph_digest(replace(graph, **{k: v})) for k, v in changed.items()}
    assert len(digests | {graph_digest(graph)}) == len(changed) + 1


def test_history_and_store_do_not(graph: Graph) -> None:
    other = replace(graph, history=(StageRecord("import", 1),), store=ContentStore())
    assert graph_digest(other) == graph_digest(graph)


def test_the_order_of_a_dict_does_not_count(graph: Graph) -> None:
    backwards = {
        name: dict(reversed(getattr(graph, name).items()))
        for name in ("values", "parameters", "rows", "metadata")
    }
    assert graph_digest(replace(graph, **backwards)) == graph_digest(graph)


def test_a_field_that_came_later_counts_where_it_is_set(graph: Graph) -> None:
    """Digests in the histories of older files stay right."""
    assert graph_digest(graph) == KNOWN
    op = graph.quantable_operations[0]
    blocks = QuantizationPolicy(Granularity.PER_BLOCK)
    digests = {
        graph_digest(graph.with_operation(op.with_slot("in", 1, replace(
            op.config.inputs[1], policy=blocks, block_size=size))))
        for size in (2, 32)
    }  # fmt: skip
    assert len(digests | {KNOWN}) == 3


def test_suspension_counts(graph: Graph) -> None:
    assert graph_digest(graph.dequantized()) != graph_digest(graph)


def test_no_two_spellings_feed_the_same_bytes(graph: Graph) -> None:
    lists = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", "")]
    texts = {graph_digest(replace(graph, outputs=names)) for names in lists}
    assert len(texts) == len(lists)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_the_hash_seed_does_not_count(seed: str) -> None:
    code = (
        "from quantable.ir import *\n"
        "ops = tuple(Operation(f'o{i}', 'Add', (), (), {c: i for c in 'cab'}) for i in range(9))\n"
        "print(graph_digest(Graph('g', operations=ops, metadata={c: c for c in 'zxy'})))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
    )
    assert run.stdout.decode().strip() == (
        "ed21fb044263b4bcc21883197361dfa9d5662486a5b19adc1b11e54b8785338a"
    )


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (True, 1), (np.int64(3), 3), (np.float32(0.5), 0.5), ([1, 2], (1, 2)), ([], ()),
        ((1, 2.5), (1.0, 2.5)), (np.bool_(True), 1), (("a",), ("a",)),
    ],
)  # fmt: skip
def test_equal_attributes_have_one_form(given: Any, normal: object) -> None:
    made = Operation("o", "K", (), (), {"a": given}).attributes["a"]
    assert made == normal
    assert type(made) is type(normal)
    assert repr(made) == repr(normal)


@pytest.mark.parametrize("value", [None, 1 << 63, {"a": 1}, ("a", 1), ((1,),), b"x"])
def test_other_attributes_are_refused(value: Any) -> None:
    with pytest.raises(InvariantError, match="attribute 'a': expected"):
        Operation("o", "K", (), (), {"a": value})


def test_scales_are_float32() -> None:
    row = QuantizationParameters("r", (0.1,), (0,))
    assert row.scale == (float(np.float32(0.1)),)
