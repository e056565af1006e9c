"""Infinities of masks, and infinities that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.bound_masks import BoundMasks

LEAST = float(np.finfo(np.float32).min)
HEAD = "x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = -Infinity; zero: f32[] = 0\n"
MASKS = {
    "an addend": "a = Add(x, low2)\ny = Softmax(a)\nreturn y",
    "moved, for a computed mask": (
        "k = Greater(x, zero)\nb = Where(k, low2, zero)\na = Add(x, b)\ny = Softmax(a)\nreturn y"
    ),
}


@pytest.mark.parametrize("case", MASKS)
def test_bounded(case: str, rewrite: Callable[[str, str], Any]) -> None:
    head = HEAD + "low2: f32[3] = [-Infinity, 0, 1]\n"
    after = rewrite("bound-masks", head + MASKS[case]).after
    np.testing.assert_array_equal(after.array("low2"), np.array([LEAST, 0, 1], np.float32))


@pytest.mark.parametrize(
    "body",
    [
        "y = Where(c, low, x)\nreturn y",
        "a = Where(c, low, x)\ny = Softmax(a)\nz = Relu(a)\nreturn y, z",
        "a = Where(c, low, x)\ny = Softmax(a)\nreturn y, a",
        "a = Max(x, low)\ny = Softmax(a)\nreturn y",
        "b = Exp(low)\na = Add(x, b)\ny = Softmax(a)\nreturn y",
    ],
)
def test_others_stay(body: str, parse: Callable[[str], Graph]) -> None:
    graph = parse(HEAD + body)
    assert BoundMasks().run(graph, PassContext()) is graph


@pytest.mark.parametrize("order", ["low, x", "x, low"])
def test_a_choice_becomes_a_sum(order: str, rewrite: Callable[[str, str], Any]) -> None:
    head = f"x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = {LEAST!r}\n"
    after = rewrite("bound-masks", f"{head}a = Where(c, {order})\ny = Softmax(a)\nreturn y").after
    assert [op.kind for op in after.operations] == ["Add", "Softmax"]
    expected = [LEAST, 0, 0] if order.startswith("low") else [0, LEAST, LEAST]
    np.testing.assert_array_equal(after.array("a.mask"), np.array(expected, np.float32))


@pytest.mark.parametrize("number", ["-1000", "3e38"])
def test_a_choice_of_another_number_stays(number: str, rewrite: Callable[[str, str], Any]) -> None:
    head = f"x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = {number}\n"
    outcome = rewrite("bound-masks", f"{head}a = Where(c, low, x)\ny = Softmax(a)\nreturn y")
    assert outcome.after.operations == outcome.before.operations
