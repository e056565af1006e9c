"""Budgets of the arena: kept, or refused with what is needed at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quantable.driver.pipelines import with_arena_budget
from quantable.ir import Graph, OptionError, UnsupportedError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.plan.budget import parsed_bytes
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.passes.plan.streams import find_streams
from quantable.targets.description import load_target
from tests.passes.plan.drawn import Net, chain

TARGET = load_target("cortex-m4")


def _size(budget: int = 0, target: str = "cortex-m4") -> int:
    item = PlanMemory(arena_budget=budget)
    done = run_pass(_wide(), item, PassContext(target=load_target(target)))
    assert done.plan is not None
    return done.plan.arena_bytes


def _wide() -> Graph:
    """Return a residual block of 16 x 16 pixels between two convolutions."""
    net = Net(2)
    net.editor.inputs.append(net.editor.add_value("x", net.u8, (1, 16, 16, 2)))
    a = net.windowed("x", "int.Conv", 8, (1, 1), (1, 1), (0, 0, 0, 0))
    b = net.windowed(a, "int.Conv", 8, (3, 3), (1, 1), (1, 1, 1, 1))
    c = net.windowed(b, "int.Conv", 8, (3, 3), (1, 1), (1, 1, 1, 1))
    d = net.windowed(net.sum(a, c), "int.Conv", 2, (1, 1), (1, 1), (0, 0, 0, 0))
    net.editor.outputs.append(d)
    return net.editor.finish()


def test_a_budget_is_kept_by_fewer_rows_a_turn() -> None:
    """With whole tiles three rows a turn are made; a tight budget asks for one."""
    free = _size()
    graph = _wide()
    (usual,), (tight,) = (find_streams(graph, 3, is_tight=tight) for tight in (False, True))
    assert (usual.rows, tight.rows) == (3, 1)
    assert _size(free) == free
    assert _size(free - 1) < free


def test_too_small_a_budget_names_what_is_needed_at_once() -> None:
    with pytest.raises(UnsupportedError) as caught:
        _size(200)
    text = str(caught.value)
    assert "operation 'opv" in text
    assert "expected at most 200 bytes, found" in text
    assert "u8[1, 16, 16, 8]" in text
    assert "rows of it" in text
    assert "help: give the network a smaller input" in text
    need = [int(line.split()[0]) for line in text.splitlines() if " bytes of '" in line]
    assert f"most is needed here, {sum(need)} bytes at once" in text


def test_kernels_without_an_order_are_told_of_those_that_have_one() -> None:
    with pytest.raises(UnsupportedError, match="c-portable, cortex-m4"):
        _size(200, "x86-vnni")


@pytest.mark.parametrize(
    ("text", "size"),
    [("22KB", 22528), ("22 kib", 22528), ("22528", 22528), ("1.5MB", 3 << 19), ("100B", 100),
     ("0", None), ("-1", None), ("22GB", None), ("KB", None), ("1.3", None), ("", None),
     ("nan", None), ("inf", None)],
)  # fmt: skip
def test_sizes(text: str, size: int | None) -> None:
    assert parsed_bytes(text) == size


def test_a_budget_becomes_an_option_of_the_pass() -> None:
    assert "plan-memory{arena-budget=2048}" in with_arena_budget("plan", "2KB")
    with pytest.raises(OptionError, match="expected a size such as 22KB"):
        with_arena_budget("plan", "much")
    with pytest.raises(OptionError, match="no pass takes a budget of the arena"):
        with_arena_budget("assign-layout", "2KB")
    with pytest.raises(OptionError, match="arena-budget: expected at least 0"):
        replace(PlanMemory(), arena_budget=-1).check()


def test_a_budget_that_is_kept_anyway_changes_nothing() -> None:
    plans = [
        run_pass(chain(3), PlanMemory(arena_budget=budget), PassContext(target=TARGET)).plan
        for budget in (0, 1 << 20)
    ]
    assert plans[0] == plans[1]
