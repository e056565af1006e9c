"""What a target computes as one operation, and what its group quantizes when it is alone."""

from __future__ import annotations

import pytest

from quantable.driver.analysis.forms import alone
from quantable.driver.analysis.groups import groups
from quantable.ir import Graph, State
from tests.passes.conftest import CHAIN, after, network, slots


def quantized(text: str, outputs: tuple[str, ...] = ()) -> Graph:
    return after(network(text, outputs), CHAIN)


@pytest.mark.parametrize(
    ("text", "outputs", "expected"),
    [
        ("c = Conv(x, w, b)\nr = Relu(c)", (), ["c r"]),
        ("c = Conv(x, w, b)\nr = Relu(c)", ("c", "r"), ["c", "r"]),
        ("a = Add(x, z)\nr = Relu(a)\ny = Conv(r, w, b)", (), ["a r", "y"]),
        ("c = Conv(x, w, b)\nr = Relu(c)\np = MaxPool(r)\ny = Conv(p, w2, b2)", (),
         ["c r", "p", "y"]),
        # Each of a Concat's inputs could be quantized with its row by itself.
        ("c = Conv(x, w, b)\nr = Relu(c)\nd = Conv(z, w2, b2)\ny = Concat(r, d)", (),
         ["c r", "d", "y"]),
    ],
)  # fmt: skip
def test_groups_are_what_the_target_fuses(
    text: str, outputs: tuple[str, ...], expected: list[str]
) -> None:
    found = groups(quantized(text, outputs))
    assert [" ".join(group.operations) for group in found] == expected


def test_what_only_moves_elements_quantizes_nothing() -> None:
    graph = quantized("c = Conv(x, w, b)\nr = Relu(c)\np = MaxPool(r)\ny = Conv(p, w2, b2)")
    assert [g.name for g in groups(graph) if g.quantizes] == ["c", "y"]


def test_a_group_alone_quantizes_at_its_border_and_not_inside() -> None:
    graph = quantized("d = Conv(x, w, b)\nc = Conv(d, w2, b2)\nr = Relu(c)\ny = Conv(r, w3, b3)")
    group = next(g for g in groups(graph) if g.name == "c")
    before, opened = slots(graph), slots(alone(graph, group))
    changed = {name for name in before if before[name] != opened[name]}
    assert changed == {"c.in0"}
    assert opened["c.in0"].startswith("passive shared d.out0")
    assert opened["c.out0"].startswith(State.OVERLAPPED.value)


def test_an_input_of_a_concat_alone_is_quantized_with_the_row_of_the_concat() -> None:
    graph = quantized("c = Conv(x, w, b)\nr = Relu(c)\nd = Conv(z, w2, b2)\ny = Concat(r, d)")
    assert slots(graph)["d.out0"].startswith("overlapped overlapped y.out0")
    group = next(g for g in groups(graph) if g.name == "d")
    assert slots(alone(graph, group))["d.out0"].startswith("passive shared y.out0")
