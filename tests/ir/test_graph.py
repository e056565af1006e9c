"""The graph's lookups, and the errors' table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    Decision,
    Graph,
    InvariantError,
    Operation,
    QuantableError,
    UnknownNameError,
)
from quantable.ir.errors import UserError, diagnostics


def test_producers_consumers_and_uses(graph: Graph) -> None:
    assert {name: op.name for name, op in graph.producers.items()} == {"c": "conv", "y": "relu"}
    assert [(op.name, slot) for op, slot in graph.uses("c")] == [("relu", 0)]
    assert graph.uses("y") == ()
    assert graph.is_parameter("w")
    assert not graph.is_parameter("x")
    assert graph.shape("x") == ("N", 1, 4, 4)
    assert graph.array("b").tolist() == [pytest.approx(0.26), -1.0]


def test_maps_are_sorted_and_cannot_be_assigned_to(graph: Graph) -> None:
    assert list(graph.values) == sorted(graph.values)
    with pytest.raises(TypeError):
        graph.values["x"] = graph.values["y"]  # type: ignore[index]


def test_contents_are_parameters_originals_and_baked_integers(baked: Graph) -> None:
    conv = baked.quantable_operations[0]
    expected = {ref.digest for _, ref in conv.originals}
    expected |= {entry.content.digest for entry in conv.baked}
    assert set(baked.contents()) == expected
    assert list(baked.contents()) == sorted(expected)


def test_attributes_are_read_by_type() -> None:
    op = Operation("o", "K", (), (), {"i": 1, "is": (1, 2), "f": 0.5, "s": "t"})
    assert (op.int_attribute("i"), op.int_attribute("none", 7)) == (1, 7)
    assert (op.ints_attribute("is"), op.float_attribute("f")) == ((1, 2), 0.5)
    assert (op.float_attribute("i"), op.string_attribute("s")) == (1.0, "t")
    for read in (op.int_attribute, op.ints_attribute, op.float_attribute):
        with pytest.raises(InvariantError, match="attribute 's'"):
            read("s")
    with pytest.raises(InvariantError, match="attribute 'i'"):
        op.string_attribute("i")


def test_diagnostics_have_one_code_each_and_users_exit_with_1() -> None:
    table = diagnostics()
    classes = set(table.values())
    assert len(table) == len(classes)
    for code, kind in table.items():
        assert kind.code == code
        assert kind.exit_code == (1 if issubclass(kind, UserError) else 70)
    assert QuantableError in classes


def test_messages_say_where_and_what_next() -> None:
    assert str(QuantableError("broken", where="file 'f'", help="mend it")) == (
        "file 'f': broken\n  help: mend it"
    )
    assert str(QuantableError("broken")) == "broken"


def test_a_decision_equals_itself_and_holds_plain_numbers() -> None:
    nan = np.float64("nan")
    made = Decision(("conv",), "rounding", "noise", nan, np.float32(0.5), np.bool_(True))
    again = Decision(("conv",), "rounding", "noise", float("nan"), 0.5, True)
    assert made == again
    assert hash(made) == hash(again)
    assert (type(made.before), type(made.after), type(made.is_accepted)) == (float, float, bool)
    assert made != replace(made, before=float("inf"))
    assert replace(made, before=0.0) != replace(made, before=-0.0)
    assert made.summary == "conv: rounding: noise nan -> 0.5, accepted"
    refused = replace(made, is_accepted=False, reason="not better")
    assert refused.summary.endswith(", refused: not better")


def test_unknown_names_get_the_nearest() -> None:
    near = UnknownNameError("pass", "bakee", ["bake", "align"])
    assert "did you mean bake?" in str(near)
    assert "known: align, bake" in str(UnknownNameError("pass", "qqq", ["bake", "align"]))
