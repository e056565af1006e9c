"""Infinities of masks, and infinities that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.bound_masks import BoundMasks

LEAST = np.finfo(np.float32).min
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
