"""Arithmetic on dimensions, against plain integers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.passes.canonicalize.shapes.symbols import Expression, evaluate, solve

SYMBOLS = ("N", "H", "unk__12")
_bindings = st.fixed_dictionaries({name: st.integers(1, 50) for name in SYMBOLS})
_leaves = st.sampled_from(SYMBOLS) | st.integers(-9, 9)
_trees = st.recursive(
    _leaves, lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner), max_leaves=8
)


def _symbolic(tree: object) -> Expression:
    if not isinstance(tree, tuple):
        return Expression.of(tree)  # type: ignore[arg-type]
    sign, left, right = tree
    a, b = _symbolic(left), _symbolic(right)
    if sign == "/":
        return a.floor_quotient(3)
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def _plain(tree: object, bindings: dict[str, int]) -> int:
    if isinstance(tree, str):
        return bindings[tree]
    if not isinstance(tree, tuple):
        assert isinstance(tree, int)
        return tree
    sign, left, right = tree
    a, b = _plain(left, bindings), _plain(right, bindings)
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // 3}[sign]


@settings(derandomize=True)
@given(_trees, _bindings)
def test_arithmetic(tree: object, bindings: dict[str, int]) -> None:
    expression = _symbolic(tree)
    assert evaluate(expression.dim, bindings) == _plain(tree, bindings)


@settings(derandomize=True)
@given(_trees)
def test_text_round_trip(tree: object) -> None:
    expression = _symbolic(tree)
    assert Expression.of(expression.dim) == expression


@pytest.mark.parametrize("name", ["N-1", "past + 1", "a b", "height/2", "*", "", "2*"])
def test_a_foreign_name_is_one_symbol(name: str) -> None:
    assert Expression.of(name).dim == name


def test_solve() -> None:
    n = Expression.of("N")
    assert solve(n * 256 - 512) == ("N", 2)
    assert solve(n * 256 - 100) is None
    assert solve(n + 3) is None
    assert solve(n - Expression.of("M")) is None
