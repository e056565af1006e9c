"""Layer normalizations that are written out in other ways, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

NAME = "fuse-layer-normalization"
HEAD = "x: f32[N,3,4]; a: i64[1] = [{axis}]; two: f32[] = 2; e: f32[] = 0.01"
BODY = """
m = ReduceMean(x, a) {keepdims=1}
d = Sub(x, m)
p = Pow(d, two)
v = ReduceMean(p, a) {keepdims=1}
t = Add(v, e)
s = Sqrt(t)
y = Div(d, s)
return y"""


def text(axis: int = -1, *changes: tuple[str, str], head: str = "") -> str:
    """Return the graph, changed."""
    found = HEAD.replace("{axis}", str(axis)) + head + BODY
    for old, new in changes:
        assert old in found
        found = found.replace(old, new)
    return found


def test_without_scale_and_shift_it_has_ones(rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text()).after
    assert [op.kind for op in after.operations] == ["LayerNormalization"]
    np.testing.assert_array_equal(after.array("y.scale"), np.ones(4))


@pytest.mark.parametrize(
    "changes",
    [
        [("p = Pow(d, two)", "p = Mul(d, d)")],
        [("y = Div(d, s)", "r = Reciprocal(s)\ny = Mul(d, r)")],
        [("y = Div(d, s)", "r = Reciprocal(s)\ny = Mul(r, d)"), ("Add(v, e)", "Add(e, v)")],
    ],
)
def test_other_spellings(
    changes: list[tuple[str, str]], rewrite: Callable[[str, str], Any]
) -> None:
    after = rewrite(NAME, text(-1, *changes)).after
    assert [op.kind for op in after.operations] == ["LayerNormalization"]


def test_along_channels_it_is_moved_to_the_last_axis(rewrite: Callable[[str, str], Any]) -> None:
    changes = [("y = Div(d, s)", "n = Div(d, s)\nh = Mul(g, n)\ny = Add(h, b)")]
    head = "; g: f32[3,1] = [[1], [2], [3]]; b: f32[1] = [0.5]"
    after = rewrite(NAME, text(1, *changes, head=head)).after
    kinds = [op.kind for op in after.operations]
    assert kinds == ["Transpose", "LayerNormalization", "Transpose"]
    np.testing.assert_array_equal(after.array("y.scale"), [1, 2, 3])
    np.testing.assert_array_equal(after.array("y.shift"), [0.5, 0.5, 0.5])


def test_a_scale_along_another_axis_stays_behind(rewrite: Callable[[str, str], Any]) -> None:
    changes = [("y = Div(d, s)", "n = Div(d, s)\ny = Mul(g, n)")]
    head = "; g: f32[3,1] = [[1], [2], [3]]"
    after = rewrite(NAME, text(-1, *changes, head=head)).after
    assert [op.kind for op in after.operations] == ["LayerNormalization", "Mul"]


@pytest.mark.parametrize(
    "changes",
    [
        [("e: f32[] = 0.01", "e: f32[] = 0")],
        [("two: f32[] = 2", "two: f32[] = 4")],
        [("y = Div(d, s)", "y = Div(s, d)")],
        [("y = Div(d, s)", "y = Div(x, s)")],
        [("return y", "return y, v")],
        [("return y", "z = Relu(d)\nreturn y, z")],
        [("d = Sub(x, m)", "d = Sub(m, x)")],
        [("v = ReduceMean(p, a)", "b: i64[1] = [1]\nv = ReduceMean(p, b)")],
        [("x: f32[N,3,4]", "x: f32[N,3,M]")],
    ],
)
def test_what_is_none_stays(
    changes: list[tuple[str, str]], rewrite: Callable[[str, str], Any]
) -> None:
    outcome = rewrite(NAME, text(-1, *changes))
    assert outcome.after.operations == outcome.before.operations
