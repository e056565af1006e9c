"""QuantableOperation, point by point as the architecture defines it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from quantable.ir import (
    DType,
    Graph,
    InvariantError,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    State,
    StateError,
    TensorQuantizationConfig,
    graph_digest,
    verify,
)


def states(op: QuantableOperation) -> list[State]:
    return [config.state for _, _, config in op.config.slots()]


def bake(graph: Graph, op: QuantableOperation) -> QuantableOperation:
    return op.bake_parameters(graph.parameters, graph.rows, graph.store)


def test_creation_copies_attributes_and_stores_originals(
    graph: Graph, conv: QuantableOperation
) -> None:
    assert conv.attributes == {"group": 1}
    assert conv.sources == ("/conv/Conv",)
    assert conv.original(1) == graph.parameters["w"]
    assert conv.original(2) == graph.parameters["b"]
    assert conv.original(0) is None
    assert conv.plain() == Operation(
        "conv", "Conv", ("x", "w", "b"), ("c",), {"group": 1}, ("/conv/Conv",)
    )


def test_creation_does_not_share_the_attributes_of_the_plain_operation() -> None:
    attributes = {"group": 1}
    plain = Operation("c", "Conv", ("x",), ("y",), attributes)
    config = OperationQuantizationConfig(
        (TensorQuantizationConfig(),), (TensorQuantizationConfig(),)
    )
    op = QuantableOperation.create(plain, config, "p", {})
    attributes["group"] = 2
    assert plain.attributes == op.attributes == {"group": 1}
    with pytest.raises(TypeError):
        op.attributes["group"] = 3  # type: ignore[index]


def test_creation_needs_a_config_for_every_slot(conv: QuantableOperation) -> None:
    config = OperationQuantizationConfig(conv.config.inputs[:2], conv.config.outputs)
    with pytest.raises(InvariantError, match=r"expected configs for \(3, 1\) slots"):
        QuantableOperation.create(conv.plain(), config, "p", {})


def test_operations_and_configs_cannot_be_assigned_to(conv: QuantableOperation) -> None:
    with pytest.raises(FrozenInstanceError):
        conv.originals = ()  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        conv.config.inputs[0].state = State.FP32  # type: ignore[misc]


def test_originals_are_stored_once(graph: Graph, conv: QuantableOperation) -> None:
    for op in (conv, bake(graph, conv)):
        with pytest.raises(StateError, match=r"stored once.*lose them") as caught:
            op.store_originals(graph.parameters)
        assert "operation 'conv'" in str(caught.value)


def test_dequantize_suspends_every_slot_and_any_number_of_calls_is_one(
    graph: Graph, conv: QuantableOperation
) -> None:
    once = conv.dequantize()
    assert states(once) == [State.FP32] * 4
    assert once.is_dequantized
    assert once.dequantize() == once
    assert once.dequantize().dequantize().restore_quantize_state() == conv
    verify(graph.with_operation(once))


def test_parameters_alone_may_be_suspended_and_the_rest_later(conv: QuantableOperation) -> None:
    partly = conv.dequantize(parameters_only=True)
    assert states(partly) == [State.ACTIVATED, State.FP32, State.FP32, State.OVERLAPPED]
    fully = partly.dequantize()
    assert states(fully) == [State.FP32] * 4
    assert fully.restore_quantize_state() == conv
    assert partly.restore_quantize_state() == conv


def test_restore_without_dequantize_changes_nothing(conv: QuantableOperation) -> None:
    assert conv.restore_quantize_state() == conv


def test_bake_stores_integers_in_the_storage_type(graph: Graph, baked: Graph) -> None:
    conv = baked.operation_by_name["conv"]
    assert isinstance(conv, QuantableOperation)
    weight, bias = conv.baked_parameter(1), conv.baked_parameter(2)
    assert weight is not None
    assert bias is not None
    assert (weight.content.dtype, bias.content.dtype) == (DType.INT4, DType.INT32)
    assert graph.store.get(weight.content).reshape(-1).tolist() == [4, -4]
    assert graph.store.get(bias.content).tolist() == [10, -20]
    assert states(conv)[1:3] == [State.BAKED, State.PASSIVE_BAKED]
    assert conv.baked_parameter(0) is None
    verify(baked)


def test_dequantize_and_restore_after_baking_are_exact(baked: Graph) -> None:
    suspended = baked.dequantized()
    verify(suspended)
    assert graph_digest(suspended) != graph_digest(baked)
    assert suspended.restored() == baked
    assert graph_digest(suspended.restored()) == graph_digest(baked)


def test_bake_twice_is_once(graph: Graph, conv: QuantableOperation) -> None:
    assert bake(graph, bake(graph, conv)) == bake(graph, conv)


def test_bake_leaves_slots_that_are_not_in_force(graph: Graph, conv: QuantableOperation) -> None:
    bias = conv.config.inputs[2].unquantized()
    done = bake(graph, conv.with_slot("in", 2, bias))
    assert [entry.slot for entry in done.baked] == [1]
    assert done.config.inputs[2] == bias


def test_baking_a_dequantized_operation_is_refused(graph: Graph, conv: QuantableOperation) -> None:
    for op in (conv.dequantize(), conv.dequantize(parameters_only=True)):
        with pytest.raises(StateError, match="restore_quantize_state"):
            bake(graph, op)


def test_unbake_gives_the_states_back(graph: Graph, conv: QuantableOperation) -> None:
    assert bake(graph, conv).unbake_parameters() == conv
    assert conv.unbake_parameters() == conv
    with pytest.raises(StateError):
        bake(graph, conv).dequantize().unbake_parameters()


def test_copy_takes_config_and_suspended_states_and_no_values(
    graph: Graph, conv: QuantableOperation
) -> None:
    suspended = conv.dequantize()
    copy = suspended.copy()
    assert copy.config == suspended.config
    assert (copy.name, copy.kind, copy.platform) == (conv.name, conv.kind, conv.platform)
    assert copy.originals == ()
    assert copy.baked == ()
    assert copy.restore_quantize_state().config == conv.config
    assert copy.store_originals(graph.parameters) == suspended


def test_equal_contents_are_stored_once(graph: Graph, baked: Graph) -> None:
    assert len(set(graph.store)) == 4  # w, b and their integers
    assert baked.dequantized().contents() == baked.contents()
    again = graph.store.put(np.asarray([0.26, -1.0], np.float32))
    assert again == graph.parameters["b"]


def test_where_names_operation_kind_and_origin(conv: QuantableOperation) -> None:
    assert conv.where() == "operation 'conv' (Conv from /conv/Conv)"
