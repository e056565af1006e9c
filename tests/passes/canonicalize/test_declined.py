"""What a pass must leave alone, one case at least a precondition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

GELU = "x: f32[N,4]; r: f32[] = 1.4142135; one: f32[] = 1; h: f32[] = 0.5"
STATISTICS = "s: f32[4] = random; b: f32[4] = random; m: f32[4] = random; v: f32[4]"

DECLINED: dict[str, tuple[str, str]] = {
    "an input is computed": (
        "fold-constants",
        """x: f32[N,2]; a: f32[2] = [1, 2]
        y = Add(x, a)
        return y""",
    ),
    "an expansion that is too large": (
        "fold-constants",
        """x: f32[1]; a: f32[1] = [1]; t: i64[1] = [1000000]
        b = Expand(a, t)
        y = Mul(x, b)
        return y""",
    ),
    "an expansion of the batch": (
        "fold-shapes",
        """x: f32[N,4]; c: f32[1,4] = random; i: i64[1] = [0]; four: i64[1] = [4]
        s = Shape(x)
        n = Gather(s, i) {axis=0}
        t = Concat(n, four) {axis=0}
        e = Expand(c, t)
        y = Add(e, x)
        return y""",
    ),
    "an input that is an output": (
        "eliminate-identity",
        """x: f32[N]
        y = Identity(x)
        return y""",
    ),
    "a cast to another type": (
        "eliminate-identity",
        """x: f32[N]
        a = Cast(x) {to=11}
        y = Cast(a) {to=1}
        return y""",
    ),
    "a product that widens": (
        "eliminate-identity",
        """x: f32[4]; one: f32[1,1] = [[1]]
        y = Mul(x, one)
        return y""",
    ),
    "two symbols that move": (
        "normalize-reshape",
        """x: f32[1,N,M]; zero: i64[1] = [0]
        y = Squeeze(x, zero)
        return y""",
    ),
    "automatic padding of an unknown size": (
        "normalize-windows",
        """x: f32[N,3,H,H]; w: f32[4,3,3,3] = random
        y = Conv(x, w) {auto_pad="SAME_UPPER" strides=[2,2]}
        return y""",
    ),
    "a partial window of an average that counts padding": (
        "normalize-windows",
        """x: f32[N,3,6]
        y = AveragePool(x) {ceil_mode=1 count_include_pad=1 dilations=[1] kernel_shape=[3] """
        """pads=[0,0] strides=[2]}
        return y""",
    ),
    "bounds that are computed": (
        "normalize-clip",
        """x: f32[N]; low: f32[]
        y = Clip(x, low)
        return y""",
    ),
    "a maximum of two tensors": (
        "normalize-clip",
        """x: f32[N]; z: f32[N]
        y = Max(x, z)
        return y""",
    ),
    "a constant divided": (
        "normalize-elementwise",
        """x: f32[N]; c: f32[] = 2
        a = Exp(x)
        y = Div(c, a)
        return y""",
    ),
    "a reciprocal that is not finite": (
        "normalize-elementwise",
        """x: f32[N]; c: f32[] = 1e-40
        y = Div(x, c)
        return y""",
    ),
    "erf of something else": (
        "fuse-gelu",
        f"""{GELU}
        a = Mul(x, r)
        b = Erf(a)
        c = Add(b, one)
        d = Mul(x, c)
        y = Mul(d, h)
        return y""",
    ),
    "erf is read twice": (
        "fuse-gelu",
        f"""{GELU}
        a = Div(x, r)
        b = Erf(a)
        c = Add(b, one)
        d = Mul(x, c)
        y = Mul(d, h)
        return y, b""",
    ),
    "a product without half": (
        "fuse-gelu",
        f"""{GELU}
        a = Div(x, r)
        b = Erf(a)
        c = Add(b, one)
        y = Mul(x, c)
        return y""",
    ),
    "padding with another value": (
        "merge-pad",
        """x: f32[N,3,8,8]; p: i64[8] = [0,0,1,1,0,0,1,1]; one: f32[] = 1
        w: f32[4,3,3,3] = random
        a = Pad(x, p, one)
        y = Conv(a, w)
        return y""",
    ),
    "padding of channels": (
        "merge-pad",
        """x: f32[N,2,8,8]; p: i64[8] = [0,1,0,0,0,0,0,0]; w: f32[4,3,3,3] = random
        a = Pad(x, p)
        y = Conv(a, w)
        return y""",
    ),
    "a maximum over padding": (
        "merge-pad",
        """x: f32[N,2,8,8]; p: i64[8] = [0,0,1,1,0,0,1,1]
        a = Pad(x, p)
        y = MaxPool(a) {kernel_shape=[2,2]}
        return y""",
    ),
    "a pool that does not count its padding": (
        "merge-pad",
        """x: f32[N,2,8,8]; p: i64[8] = [0,0,1,1,0,0,1,1]
        a = Pad(x, p)
        y = AveragePool(a) {kernel_shape=[2,2] pads=[1,1,1,1]}
        return y""",
    ),
    "a convolution that is read twice": (
        "merge-bias",
        """x: f32[N,1,4,4]; w: f32[2,1,1,1] = random; c: f32[2,1,1] = random
        a = Conv(x, w)
        y = Add(a, c)
        return y, a""",
    ),
    "one number a column": (
        "merge-bias",
        """x: f32[N,1,4,4]; w: f32[4,1,1,1] = random; c: f32[4] = random
        a = Conv(x, w)
        y = Add(a, c)
        return y""",
    ),
    "a bias that is computed": (
        "merge-bias",
        """x: f32[N,1,4,4]; w: f32[2,1,1,1] = random; b: f32[2]; c: f32[] = 1
        a = Conv(x, w, b)
        y = Add(a, c)
        return y""",
    ),
    "statistics that are computed": (
        "fold-batchnorm",
        f"""x: f32[N,4,3,3]; {STATISTICS}
        w = Exp(v)
        y = BatchNormalization(x, s, b, m, w)
        return y""",
    ),
    "a weight that is computed": (
        "merge-linear",
        """x: f32[N,3]; w: f32[3,4]
        y = MatMul(x, w)
        return y""",
    ),
    "a batch of weights": (
        "merge-linear",
        """x: f32[2,N,3]; w: f32[2,3,4] = random
        y = MatMul(x, w)
        return y""",
    ),
    "one operand only, and no transpose below": (
        "eliminate-transposes",
        """x: f32[N,4,6]
        a = Transpose(x) {perm=[0,2,1]}
        y = Relu(a)
        return y""",
    ),
    "operands transposed in different ways": (
        "eliminate-transposes",
        """x: f32[2,2,2]; z: f32[2,2,2]
        a = Transpose(x) {perm=[0,2,1]}
        b = Transpose(z) {perm=[1,0,2]}
        y = Add(a, b)
        return y""",
    ),
    "everything is read": (
        "eliminate-dead-code",
        """x: f32[N]
        a = Relu(x)
        y = Exp(a)
        return y""",
    ),
    "nothing is shared": (
        "unshare-parameters",
        """x: f32[2]; w: f32[2] = random
        y = Add(x, w)
        return y""",
    ),
}


@pytest.mark.parametrize("case", DECLINED)
def test_declined(case: str, rewrite: Callable[[str, str], Any]) -> None:
    name, text = DECLINED[case]
    outcome = rewrite(name, text)
    kinds = [op.kind for op in outcome.before.operations]
    assert [op.kind for op in outcome.after.operations] == kinds
    assert outcome.after.operations == outcome.before.operations
