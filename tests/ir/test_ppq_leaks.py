"""Every leak and bug of PPQ's QuantableOperation that the IR closes, by name.

PPQ (Apache-2.0) is the model of the semantics; each test is a sequence of calls after which PPQ is
in a wrong state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    Graph,
    GraphEditor,
    InvariantError,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    StateError,
    graph_digest,
    verify,
)
from quantable.ir.invariants import violations


def bake(graph: Graph, op: QuantableOperation) -> QuantableOperation:
    return op.bake_parameters(graph.parameters, graph.rows, graph.store)


def test_storing_after_baking_does_not_lose_the_original(
    graph: Graph, conv: QuantableOperation
) -> None:
    baked = bake(graph, conv)
    with pytest.raises(StateError):
        baked.store_originals(graph.parameters)
    assert baked.originals == conv.originals


def test_parameter_only_does_not_swallow_a_later_dequantize(conv: QuantableOperation) -> None:
    op = conv.dequantize(parameters_only=True).dequantize()
    assert all(config.state is State.FP32 for _, _, config in op.config.slots())


def test_a_copy_of_a_dequantized_operation_is_not_stuck(conv: QuantableOperation) -> None:
    assert conv.dequantize().copy().restore_quantize_state().config == conv.config


def test_a_copy_of_a_baked_operation_is_not_stuck(graph: Graph, conv: QuantableOperation) -> None:
    copy = bake(graph, conv).copy()
    again = bake(graph, copy.unbake_parameters().store_originals(graph.parameters))
    assert again == bake(graph, conv)


def test_a_scale_cannot_change_while_dequantized_and_baked(baked: Graph) -> None:
    row = baked.rows["conv.in1"]
    other = row.filled([1.0, 1.0], 0, "a pass")
    for graph in (baked, baked.dequantized()):
        with pytest.raises(InvariantError, match=r"conv\.in1.*baked in") as caught:
            graph.with_rows([other])
        assert "operation 'conv'" in str(caught.value)
        assert "in1" in str(caught.value)
        smuggled = replace(graph, rows={**graph.rows, "conv.in1": other})
        assert {name for name, _, _ in violations(smuggled)} == {"rows-valid"}  # bias = sx * sw


def test_the_verifier_names_the_slot_whose_scale_changed(baked: Graph) -> None:
    rows = {
        **baked.rows,
        "conv.in1": baked.rows["conv.in1"].filled([0.25, 1.0], 0, "p"),
        "conv.in2": baked.rows["conv.in2"].filled(
            np.float32(0.1) * np.asarray([0.25, 1.0], np.float32), 0, "p"
        ),
    }
    found = violations(replace(baked, rows=rows))
    assert {where for name, where, _ in found if name == "baked-match"} == {
        "operation 'conv' (Conv from /conv/Conv) in1",
        "operation 'conv' (Conv from /conv/Conv) in2",
    }


def test_a_row_that_is_not_baked_may_change(baked: Graph) -> None:
    changed = baked.with_rows([baked.rows["relu.out0"].filled(1.0, 0, "p")])
    verify(changed)


def test_a_copy_of_a_graph_keeps_who_masters_whom(graph: Graph) -> None:
    copy = replace(graph)
    assert copy == graph
    slot = copy.operation_by_name["conv"].config.inputs[2]  # type: ignore[attr-defined]
    assert (slot.state, slot.relation, slot.row) == (
        State.PASSIVE, Relation.DERIVED, "conv.in2",
    )  # fmt: skip


def test_reading_a_row_changes_nothing(graph: Graph) -> None:
    before = graph_digest(graph)
    for row in graph.rows.values():
        assert row.scale_array.dtype == np.float32
        assert row.digest
    assert graph_digest(graph) == before


def test_relation_is_explicit_and_never_guessed_from_state(graph: Graph) -> None:
    op = graph.operation_by_name["relu"]
    assert isinstance(op, QuantableOperation)
    wrong = replace(op.config.inputs[0], relation=Relation.SHARED)
    found = violations(graph.with_operation(op.with_slot("in", 0, wrong)))
    assert found[0][0] == "relations-match"


def test_alignment_replaces_the_whole_group_at_once(graph: Graph) -> None:
    """In PPQ, members of an older group keep the old master; a row is shared by all of them."""
    changed = graph.with_rows([graph.rows["relu.out0"].filled(0.5, 0, "align")])
    scales = {
        changed.rows[config.row].scale
        for op in changed.quantable_operations
        for _, _, config in op.config.slots()
        if config.row == "relu.out0"
    }
    assert scales == {(0.5,)}


def test_one_operation_may_consume_a_value_twice(graph: Graph) -> None:
    editor = GraphEditor(graph)
    add = editor.add_operation("add", "Add", ("y", "y"), (editor.add_value(
        "z", graph.values["y"].dtype, graph.values["y"].shape),))  # fmt: skip
    assert [(op.name, slot) for op, slot in editor.uses("y")] == [("add", 0), ("add", 1)]
    editor.remove(add)


def test_identity_has_no_clock_and_no_counter(graph: Graph) -> None:
    row = QuantizationParameters("r", (0.5,), (0,))
    assert row == QuantizationParameters("r", (0.5,), (0,))
    assert graph_digest(graph) == graph_digest(replace(graph))


def test_baking_a_parameter_with_two_consumers_is_an_error(baked: Graph) -> None:
    editor = GraphEditor(baked)
    out = editor.add_value("z", baked.values["w"].dtype, baked.values["w"].shape)
    editor.add_operation("second", "Relu", ("w",), (out,))
    found = violations(editor.finish())
    assert found == [
        ("baked-unshared", "operation 'conv' (Conv from /conv/Conv) in1",
         "baked parameter 'w' is shared"),
    ]  # fmt: skip


def test_suspension_is_not_a_flag_beside_the_states(conv: QuantableOperation) -> None:
    op = conv.dequantize()
    for side, index, slot in op.config.slots():
        op = op.with_slot(side, index, slot.restore())
    assert op == conv
    assert not op.is_dequantized
