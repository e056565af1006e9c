"""Every invariant is broken by a graph that breaks nothing earlier, and the message says where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    INVARIANTS,
    Arithmetic,
    ContentRef,
    DType,
    Granularity,
    Graph,
    InvariantError,
    Level,
    MemoryPlan,
    Operation,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Region,
    Relation,
    State,
    Stream,
    Value,
    verify,
)
from quantable.ir.invariants import violations

PER_CHANNEL = QuantizationPolicy(Granularity.PER_CHANNEL)
Break = Callable[[Graph], Graph]
BROKEN: list[tuple[str, str, Break]] = []


def breaks(invariant: str, text: str) -> Callable[[Break], Break]:
    def register(function: Break) -> Break:
        BROKEN.append((invariant, text, function))
        return function

    return register


def conv_of(graph: Graph) -> QuantableOperation:
    operation = graph.operation_by_name["conv"]
    assert isinstance(operation, QuantableOperation)
    return operation


def with_config(graph: Graph, slot: int, **changes: object) -> Graph:
    conv = conv_of(graph)
    config = replace(conv.config.inputs[slot], **changes)  # type: ignore[arg-type]
    return graph.with_operation(conv.with_slot("in", slot, config))


def with_row(graph: Graph, row: QuantizationParameters) -> Graph:
    return replace(graph, rows={**graph.rows, row.id: row})


def bake(graph: Graph) -> Graph:
    return graph.with_operation(
        conv_of(graph).bake_parameters(graph.parameters, graph.rows, graph.store)
    )


def integer(graph: Graph, *operations: Operation) -> Graph:
    values = {n: Value(n, DType.INT8, (4,)) for n in "xy"}
    return Graph("int", Level.INTEGER, 21, ("x",), ("y",), values, operations, store=graph.store)


REQUANTIZE = Operation(
    "r", "int.Requantize", ("x",), ("y",),
    {"x_zero_point": 0, "multiplier": 1.0, "y_zero_point": 0, "clamp_min": 0, "clamp_max": 1},
)  # fmt: skip


def planned(graph: Graph, plan: MemoryPlan | None) -> Graph:
    return replace(integer(graph, REQUANTIZE), level=Level.PLANNED, plan=plan)


breaks("values-exist", "input or output 'q' is not a value")(lambda g: replace(g, inputs=("q",)))
breaks("values-exist", "'c' is not a value")(
    lambda g: replace(g, values={n: v for n, v in g.values.items() if n != "c"})
)
breaks("values-exist", "expected 'y'")(
    lambda g: replace(g, values={**g.values, "k": g.values["y"]})
)
breaks("single-assignment", "is an input and a parameter")(lambda g: replace(g, inputs=("x", "w")))
breaks("single-assignment", "reads 'c' before it is defined")(
    lambda g: replace(g, operations=g.operations[::-1])
)
breaks("single-assignment", "defines 'c' a second time")(
    lambda g: replace(g, operations=(*g.operations, Operation("again", "Relu", ("x",), ("c",))))
)
breaks("single-assignment", "is never defined")(lambda g: replace(g, operations=g.operations[:1]))
breaks("names-unique", "its name is empty or taken")(
    lambda g: replace(g, operations=(g.operations[0], replace(g.operations[1], name="conv")))
)
breaks("names-unique", "its name is empty or taken")(
    lambda g: replace(g, operations=(g.operations[0], replace(g.operations[1], name="")))
)
breaks("parameters-match", "is not a value")(
    lambda g: replace(g, parameters={**g.parameters, "k": g.parameters["w"]})
)
breaks("parameters-match", r"expected f32\(3,\), found f32\(2,\)")(
    lambda g: replace(g, values={**g.values, "b": Value("b", DType.FLOAT32, (3,))})
)
breaks("parameters-match", "is not in the store")(
    lambda g: replace(
        g, parameters={**g.parameters, "b": ContentRef("0" * 64, DType.FLOAT32, (2,))}
    )
)
breaks("no-configs", "has a config at the float level")(lambda g: replace(g, level=Level.FLOAT))
breaks("rows-valid", "is held under the wrong name")(
    lambda g: replace(g, rows={**g.rows, "k": g.rows["relu.out0"]})
)
breaks("rows-valid", "1 scales, 2 zero points")(
    lambda g: with_row(g, replace(g.rows["relu.out0"], zero_point=(0, 0)))
)
for bad in (0.0, -1.0, float("inf"), float("nan")):
    breaks("rows-valid", "not a positive finite number")(
        lambda g, bad=bad: with_row(g, replace(g.rows["relu.out0"], scale=(bad,)))
    )
breaks("rows-valid", "is not the product of conv.in0, conv.in1")(
    lambda g: with_row(g, g.rows["conv.in1"].filled([1.0, 1.0], 0, "p"))
)
breaks("rows-valid", "is not the product of conv.in0, conv.in1")(
    lambda g: with_row(g, g.rows["conv.in1"].filled([1.0, 1.0, 1.0], 0, "p"))
)
breaks("rows-valid", "is derived from a row that is missing or empty")(
    lambda g: with_row(g, g.rows["conv.in1"].cleared())
)
breaks("slots-match", r"has configs for \(2, 1\) slots")(
    lambda g: g.with_operation(
        replace(conv_of(g), config=replace(conv_of(g).config, inputs=conv_of(g).config.inputs[:2]))
    )
)
breaks("slots-match", "holds a parameter of slot 7")(
    lambda g: g.with_operation(replace(conv_of(g), originals=((7, g.parameters["w"]),)))
)
breaks("relations-match", "state activated with relation shared")(
    lambda g: with_config(g, 0, relation=Relation.SHARED)
)
breaks("relations-match", "is suspended, expected state fp32, found activated")(
    lambda g: with_config(g, 0, suspended=State.ACTIVATED)
)
breaks("relations-match", "relation own with row ''")(lambda g: with_config(g, 0, row=""))
breaks("relations-match", "row 'nowhere' does not exist")(
    lambda g: with_config(g, 0, row="nowhere")
)
breaks("rows-filled", "state activated but row 'relu.out0' has no scale")(
    lambda g: with_row(g, g.rows["relu.out0"].cleared())
)
breaks("rows-filled", "state initial but row 'conv.in0' has a scale")(
    lambda g: with_config(g, 0, state=State.INITIAL)
)
breaks("rows-filled", "a zero point of row 'relu.out0' is outside the slot's range")(
    lambda g: with_row(g, g.rows["relu.out0"].filled(0.05, 256, "p"))
)
BLOCKS: dict[str, object] = {
    "policy": QuantizationPolicy(Granularity.PER_BLOCK), "block_size": 2, "channel_axis": 1,
}  # fmt: skip
breaks("blocks-match", r"expected 2 scales, one a block, found 1")(
    lambda g: with_row(
        with_row(with_config(g, 1, **BLOCKS), g.rows["conv.in1"].filled([0.25], 0, "p")),
        g.rows["conv.in2"].filled(np.float32(0.1) * np.float32(0.25), 0, "p"),
    )
)
breaks("blocks-match", "blocks along axis 4 of 4")(
    lambda g: with_config(g, 1, **{**BLOCKS, "channel_axis": 4})
)
breaks("blocks-match", "is quantized in blocks, expected a parameter")(
    lambda g: with_config(g, 0, **BLOCKS)
)
breaks("one-owner", "owns row 'relu.out0', which")(lambda g: with_config(g, 0, row="relu.out0"))
breaks("one-owner", "refers to row 'conv.in1', which no slot owns")(
    lambda g: with_config(g, 1, state=State.PASSIVE, relation=Relation.SHARED)
)
breaks("baked-match", "state and stored integers disagree")(
    lambda g: g.with_operation(replace(conv_of(bake(g)), baked=()))
)
breaks("baked-match", "changed while it is baked in")(
    lambda g: g.with_operation(
        replace(
            conv_of(bake(g)),
            baked=tuple(replace(b, row_digest="") for b in conv_of(bake(g)).baked),
        )
    )
)
breaks("baked-match", "expected i4, found i8")(
    lambda g: g.with_operation(
        replace(
            conv_of(bake(g)),
            baked=tuple(
                replace(b, content=g.store.put(np.zeros((2, 1, 1, 1), np.int8)))
                if b.slot == 1
                else b
                for b in conv_of(bake(g)).baked
            ),
        )
    )
)
breaks("baked-match", "power-of-two' of 4 bits cannot be stored")(
    lambda g: with_config(
        bake(g), 1, exponent_bits=1,
        policy=replace(PER_CHANNEL, arithmetic=Arithmetic.FLOATING, power_of_two=True),
    )
)  # fmt: skip
breaks("baked-unshared", "baked parameter 'b' is shared")(
    lambda g: replace(
        bake(g),
        operations=(*bake(g).operations, Operation("s", "Relu", ("b",), ("z",))),
        values={**g.values, "z": Value("z", DType.FLOAT32, (2,))},
    )
)
breaks("explicit-kinds", "is not an integer operation")(
    lambda g: integer(g, Operation("s", "Conv", ("x",), ("y",)))
)
breaks("explicit-kinds", "expected operands x")(
    lambda g: integer(g, replace(REQUANTIZE, inputs=("x", "x")))
)
breaks("explicit-kinds", r"attributes missing: \['x_zero_point'.*unknown: \['odd'\]")(
    lambda g: integer(g, replace(REQUANTIZE, attributes={"odd": 1}))
)
breaks("planned-memory", "has no memory plan")(lambda g: planned(g, None))
breaks("planned-memory", "has the alignment 0")(lambda g: planned(g, MemoryPlan(8, 0, {"x": 0})))
breaks("planned-memory", "is not a value")(lambda g: planned(g, MemoryPlan(8, 4, {"q": 0})))
breaks("planned-memory", "offset 2 is not aligned")(
    lambda g: planned(g, MemoryPlan(8, 4, {"x": 2}))
)
breaks("planned-memory", "ends at 12, outside the arena")(
    lambda g: planned(g, MemoryPlan(8, 4, {"x": 8}))
)
breaks("nothing-overwritten", "its operations are not consecutive ones of the graph")(
    lambda g: planned(g, MemoryPlan(8, 4, {}, True, (Stream(("other",), 1, {}),)))
)


def branching(graph: Graph, region: Region, captures: int = 1) -> Graph:
    """The float graph with an If of two equal branches in front of what reads its first input."""
    values = {
        "flag": Value("flag", DType.BOOL, ()),
        "made": replace(graph.values[graph.inputs[0]], name="made"),
    }
    branches = {"then_branch": region, "else_branch": region, "captures": captures}
    choice = Operation("choice", "If", ("flag", graph.inputs[0]), ("made",), branches)
    return replace(
        graph, inputs=(*graph.inputs, "flag"), values={**graph.values, **values},
        operations=(choice, *graph.operations),
    )  # fmt: skip


def passing(graph: Graph, name: str = "r") -> Region:
    """A region of one operation."""
    x = replace(graph.values[graph.inputs[0]], name="x")
    relu = Operation(name, "Relu", ("x",), ("y",))
    return Region("branch", ("x",), ("y",), {"x": x, "y": replace(x, name="y")}, (relu,))


@breaks("regions-match", "expected 1 inputs, found 0")
def _region_without_inputs(graph: Graph) -> Graph:
    held = replace(passing(graph), inputs=())
    return branching(graph, held)


@breaks("regions-match", "expected 1 outputs, or more")
def _region_without_outputs(graph: Graph) -> Graph:
    return branching(graph, replace(passing(graph), outputs=()))


@breaks("regions-match", "reads 'x' before it is defined")
def _region_that_is_not_isolated(graph: Graph) -> Graph:
    held = replace(passing(graph), inputs=("y",), outputs=("y",), operations=())
    return branching(graph, replace(held, operations=passing(graph).operations))


@breaks("regions-match", "its name is empty or taken")
def _region_with_a_nameless_operation(graph: Graph) -> Graph:
    return branching(graph, passing(graph, ""))


@pytest.mark.parametrize(
    ("invariant", "text", "change"), BROKEN, ids=[f"{name}-{text[:40]}" for name, text, _ in BROKEN]
)
def test_a_graph_that_breaks_it_is_found(
    graph: Graph, invariant: str, text: str, change: Break
) -> None:
    verify(graph)
    broken = change(graph)
    assert {name for name, _, _ in violations(broken)} == {invariant}
    with pytest.raises(InvariantError, match=text) as caught:
        verify(broken, after="some-pass")
    assert f"invariant {invariant} after some-pass" in str(caught.value)
    assert caught.value.where


def test_a_graph_with_regions_passes(graph: Graph) -> None:
    verify(branching(graph, passing(graph)))


def test_every_invariant_is_covered() -> None:
    assert {name for name, _, _ in BROKEN} == {invariant.name for invariant in INVARIANTS}


def test_good_graphs_of_every_level_pass(graph: Graph, baked: Graph) -> None:
    plain = tuple(op.plain() for op in graph.quantable_operations)
    for good in (
        graph, baked, graph.dequantized(), baked.dequantized(),
        replace(graph, level=Level.FLOAT, operations=plain, rows={}),
        integer(graph, REQUANTIZE), planned(graph, MemoryPlan(64, 32, {"x": 0, "y": 32})),
    ):  # fmt: skip
        verify(good)
