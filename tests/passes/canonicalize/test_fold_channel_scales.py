"""Scales of channels go into the weights on both sides, or a remark says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

NAME = "fold-channel-scales"
TEXT = """x: f32[N,2,4,4]; w: f32[2,2,1,1] = [[[[1]], [[2]]], [[[3]], [[4]]]]; b: f32[2] = [1, -2]
v: i8[2,1,1,1] = [[[[5]], [[6]]]]; vs: f32[2] = [1, 2]; vz: i8[2] = [0, 0]
s: f32[2] = [0.5, 0.125]; z: u8[2] = [0, 0]; low: f32[] = 0; high: f32[] = 128
c = Conv(x, w, b) {kernel_shape=[1,1]}
r = Relu(c)
q = QuantizeLinear(r, s, z) {axis=1}
d = DequantizeLinear(q, s, z) {axis=1}
vd = DequantizeLinear(v, vs, vz) {axis=0}
y = Conv(d, vd) {group=2 kernel_shape=[1,1]}
return y"""


def text(*changes: tuple[str, str]) -> str:
    """Return the graph, changed."""
    found = TEXT
    for old, new in changes:
        assert old in found
        found = found.replace(old, new)
    return found


def scales(graph: Any, value: str) -> list[float]:
    """Return the scales of the quantizer that makes a value."""
    made = next(op for op in graph.operations if value in op.outputs)
    return graph.array(made.inputs[1]).reshape(-1).tolist()


def test_weights_and_bias_of_both_sides_are_scaled(rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text()).after
    assert scales(after, "q") == scales(after, "d") == [0.5]
    assert after.array("w").reshape(-1).tolist() == [1, 2, 12, 16]
    assert after.array("b").tolist() == [1, -8]
    assert scales(after, "vd") == [1, 0.5]


def test_stored_integers_stay(rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text(
        ("w: f32[2,2,1,1]", "k: i8[2,2,1,1]"), ("b: f32[2] = [1, -2]", "i: i32[2] = [10, -20]"),
        ("c = ", "w = DequantizeLinear(k, ks)\nb = DequantizeLinear(i, is)\nc = "),
        ("low:", "ks: f32[] = 0.5; is: f32[] = 0.25; low:"),
    )).after  # fmt: skip
    assert after.array("k").reshape(-1).tolist() == [1, 2, 3, 4]
    assert after.array("i").tolist() == [10, -20]
    assert after.array("v").reshape(-1).tolist() == [5, 6]
    assert (scales(after, "w"), scales(after, "b")) == ([0.5, 2], [0.25, 1])


def test_a_clip_that_the_quantizer_does_becomes_relu(rewrite: Callable[[str, str], Any]) -> None:
    """127.5 is the largest number of the first channel, so that 128 bounds nothing."""
    after = rewrite(NAME, text(("Relu(c)", "Clip(c, low, high)"))).after
    assert [op.kind for op in after.operations][:2] == ["Conv", "Relu"]


def test_several_outputs_a_channel(rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text(
        ("v: i8[2,1,1,1] = [[[[5]], [[6]]]]", "v: i8[4,1,1,1] = [[[[5]], [[6]], [[7]], [[8]]]]"),
        ("vs: f32[2] = [1, 2]", "vs: f32[4] = [1, 2, 4, 8]"),
        ("vz: i8[2] = [0, 0]", "vz: i8[4] = [0, 0, 0, 0]"),
    )).after  # fmt: skip
    assert scales(after, "vd") == [1, 2, 1, 2]


def test_a_convolution_alone_with_a_zero_point(rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text(("QuantizeLinear(r,", "QuantizeLinear(c,"), ("r = Relu(c)\n", ""),
                               ("z: u8[2] = [0, 0]", "z: u8[2] = [7, 7]"))).after  # fmt: skip
    assert scales(after, "q") == [0.5]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [([("z: u8[2] = [0, 0]", "z: u8[2] = [0, 1]")], "different zero points"),
     ([("high: f32[] = 128", "high: f32[] = 30"), ("Relu(c)", "Clip(c, low, high)")],
      "no convolution"),
     ([("Relu(c)", "Sigmoid(c)")], "no convolution"),
     ([("return y", "u = Neg(c)\nreturn y, u")], "no convolution"),
     ([("return y", "u = Neg(r)\nreturn y, u")], "not only depthwise"),
     ([("return y", "u = Neg(d)\nreturn y, u")], "not only depthwise"),
     ([("return y", "return y, d")], "not only depthwise"),
     ([("return y", "u = Neg(vd)\nreturn y, u")], "not only depthwise"),
     ([("return y", "u = Neg(b)\nreturn y, u")], "no convolution"),
     ([("Conv(d, vd) {group=2", "Conv(d, w2) {group=1"),
       ("low:", "w2: f32[2,2,1,1] = [[[[1]], [[2]]], [[[3]], [[4]]]]; low:")],
      "not only depthwise")],
)  # fmt: skip
def test_declined(
    changes: list[tuple[str, str]], reason: str, rewrite: Callable[[str, str], Any]
) -> None:
    outcome = rewrite(NAME, text(*changes))
    assert outcome.after.operations == outcome.before.operations
    assert [reason in remark for _, _, remark in outcome.context.remarks] == [True] * 2
