"""The editor: names, uses, order, and what `finish` keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import DType, Graph, GraphEditor, InvariantError, Level, Operation, Value, verify


def chain(*edges: tuple[str, str], outputs: tuple[str, ...]) -> Graph:
    names = {"x", *(name for edge in edges for name in edge)}
    operations = tuple(Operation(f"{b}!", "Relu", (a,), (b,)) for a, b in edges)
    values = {name: Value(name, DType.FLOAT32, (1,)) for name in names}
    return Graph("chain", Level.FLOAT, 21, ("x",), outputs, values, operations)


def test_finishing_without_an_edit_changes_nothing(graph: Graph) -> None:
    assert GraphEditor(graph).finish() == graph


def test_fresh_names_avoid_values_and_operations() -> None:
    editor = GraphEditor(chain(("x", "a"), outputs=("a",)))
    names = [editor.fresh_name(hint) for hint in ("x", "x", "a!", "new")]
    assert names == ["x.1", "x.2", "a!.1", "new"]


def test_replace_uses_reaches_readers_and_outputs() -> None:
    editor = GraphEditor(chain(("x", "a"), ("a", "b"), outputs=("a", "b")))
    editor.replace_uses("a", "x")
    done = editor.finish()
    assert done.outputs == ("x", "b")
    assert done.operation_by_name["b!"].inputs == ("x",)
    assert editor.uses("a") == []
    assert [(op.name, slot) for op, slot in editor.uses("x")] == [("a!", 0), ("b!", 0)]


def test_values_that_nothing_names_are_dropped() -> None:
    editor = GraphEditor(chain(("x", "a"), ("a", "b"), outputs=("b",)))
    editor.replace_uses("b", "a")
    editor.remove(editor.operations["b!"])
    assert set(editor.finish().values) == {"x", "a"}
    assert editor.producer("b") is None
    assert editor.producer("x") is None


def test_operations_that_nothing_reads_stay() -> None:
    done = GraphEditor(chain(("x", "a"), ("x", "b"), outputs=("b",))).finish()
    assert [op.name for op in done.operations] == ["a!", "b!"]


def test_parameters_can_be_added_and_made() -> None:
    editor = GraphEditor(chain(("x", "a"), outputs=("a",)))
    name = editor.add_parameter("k", [1, -2], DType.INT4)
    out = editor.add_value("sum", DType.FLOAT32, (1,))
    editor.add_operation("add", "Add", ("a", name), (out,), {"k": 1}, ("n",))
    editor.remove(editor.operations["a!"])
    editor.make_parameter("a", np.asarray([3.0], np.float32))
    editor.outputs = [out]
    done = editor.finish()
    verify(done)
    assert done.array("a").tolist() == [3.0]
    assert done.array("k").tolist() == [1, -2]
    assert done.parameters["k"].dtype is DType.INT4


def test_an_operation_inserted_late_is_sorted_before_its_readers() -> None:
    editor = GraphEditor(chain(("x", "a"), ("a", "b"), outputs=("b",)))
    middle = editor.add_value("m", DType.FLOAT32, (1,))
    editor.replace_uses("a", middle)
    editor.add_operation("mid", "Relu", ("a",), (middle,))
    assert [op.name for op in editor.finish().operations] == ["a!", "mid", "b!"]


def test_a_cycle_is_an_error() -> None:
    editor = GraphEditor(chain(("x", "a"), ("a", "b"), outputs=("b",)))
    editor.replace(Operation("a!", "Add", ("b",), ("a",)))
    with pytest.raises(InvariantError, match="cycle"):
        editor.finish()


def test_replacing_what_is_not_there_is_an_error(graph: Graph) -> None:
    with pytest.raises(InvariantError, match="no operation 'q'"):
        GraphEditor(graph).replace(Operation("q", "Relu", (), ()))


@given(st.data())
def test_any_order_is_sorted_topologically(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    edges = [
        (data.draw(st.sampled_from(["x", *(f"v{j}" for j in range(i))])), f"v{i}")
        for i in range(count)
    ]
    order = data.draw(st.permutations(edges))
    done = GraphEditor(chain(*order, outputs=(f"v{count - 1}",))).finish()
    verify(done)
    assert {op.name for op in done.operations} == {f"v{i}!" for i in range(count)}
