"""Further rewrites of every pass, in the notation of conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quantable.ir import Graph

CONV = "x: f32[N,3,8,8]; w: f32[4,3,3,3] = random"
STATISTICS = """s: f32[4] = [1, 2, 3, 4]; b: f32[4] = [4, 3, 2, 1]
m: f32[4] = [1, 0, -1, 2]; v: f32[4] = [1, 2, 3, 4]"""

CASES: dict[str, tuple[str, str, list[str]]] = {
    "a chain of constants": (
        "fold-constants",
        """x: f32[N]; a: f32[] = 2
        b = Exp(a)
        c = Neg(b)
        y = Add(x, c)
        return y""",
        ["Add"],
    ),
    "weights behind DequantizeLinear": (
        "fold-constants",
        """x: f32[N,2]; q: i8[2,3] = [[1, 2, 3], [4, 5, 6]]; s: f32[3] = [0.5, 1, 2]
        z: i8[3] = [1, 0, 0]
        w = DequantizeLinear(q, s, z) {axis=1}
        y = MatMul(x, w)
        return y""",
        ["MatMul"],
    ),
    "a fixed batch is found": (
        "fold-shapes",
        """x: f32[N,4,1,1]; t: i64[2] = [1, 4]
        y = Reshape(x, t)
        return y""",
        ["Reshape"],
    ),
    "two symbols that stay": (
        "fold-shapes",
        """x: f32[N,M,4]; i: i64[2] = [0, 1]; last: i64[2] = [2, 2]
        s = Shape(x)
        h = Gather(s, i) {axis=0}
        t = Concat(h, last) {axis=0}
        y = Reshape(x, t)
        return y""",
        ["Reshape"],
    ),
    "two symbols that stay, where a zero means zero": (
        "fold-shapes",
        """x: f32[N,M,4]; i: i64[2] = [0, 1]; last: i64[2] = [2, 2]
        s = Shape(x)
        h = Gather(s, i) {axis=0}
        t = Concat(h, last) {axis=0}
        y = Reshape(x, t) {allowzero=1}
        return y""",
        ["Reshape"],
    ),
    "arithmetic through float": (
        "fold-shapes",
        """x: f32[N,4]; i: i64[] = 1
        s = Shape(x)
        c = Gather(s, i) {axis=0}
        f = Cast(c) {to=1}
        r = Sqrt(f)
        y = Div(x, r)
        return y""",
        ["Div"],
    ),
    "a slice to the end": (
        "fold-shapes",
        """x: f32[N,4]; zero: i64[1] = [0]; i: i64[1] = [0]
        s = Shape(x)
        e = Gather(s, i) {axis=0}
        y = Slice(x, zero, e, zero)
        return y""",
        ["Slice"],
    ),
    "expansion of what has its size": (
        "fold-shapes",
        """x: f32[N,1]; i: i64[1] = [0]; four: i64[1] = [4]
        s = Shape(x)
        n = Gather(s, i) {axis=0}
        t = Concat(n, four) {axis=0}
        y = Expand(x, t)
        return y""",
        ["Expand"],
    ),
    "a chain of identities to an output": (
        "eliminate-identity",
        """x: f32[N,4]; one: f32[] = 1; t: i64[2] = [-1, 4]
        a = Relu(x)
        b = Mul(a, one)
        c = Reshape(b, t)
        y = Cast(c) {to=1}
        return y""",
        ["Relu"],
    ),
    "dropout without its mask": (
        "eliminate-identity",
        """x: f32[N,4]
        a, mask = Dropout(x)
        y = Relu(a)
        return y""",
        ["Relu"],
    ),
    "squeeze and unsqueeze": (
        "normalize-reshape",
        """x: f32[N,4,1]; two: i64[1] = [2]; one: i64[1] = [1]
        a = Squeeze(x, two)
        y = Unsqueeze(a, one)
        return y""",
        ["Reshape"],
    ),
    "a softmax of old opsets": (
        "normalize-reshape",
        """x: f32[2,3,4]; back: i64[3] = [2, 3, 4]
        a = Flatten(x) {axis=2}
        b = Softmax(a) {axis=-1}
        y = Reshape(b, back)
        return y""",
        ["Softmax"],
    ),
    "valid padding of a pool": (
        "normalize-windows",
        """x: f32[N,3,8,8]
        y = MaxPool(x) {auto_pad="VALID" kernel_shape=[3,3] strides=[2,2]}
        return y""",
        ["MaxPool"],
    ),
    "a partial last window": (
        "normalize-windows",
        """x: f32[N,3,7,6]
        a = AveragePool(x) {ceil_mode=1 kernel_shape=[2,4] strides=[2,3]}
        y = MaxPool(a) {ceil_mode=1 kernel_shape=[2,2] pads=[1,0,1,1] strides=[2,2]}
        return y""",
        ["AveragePool", "MaxPool"],
    ),
    "same padding of a transposed convolution": (
        "normalize-windows",
        """x: f32[N,3,5,5]; w: f32[3,2,3,3] = random
        y = ConvTranspose(x, w) {auto_pad="SAME_LOWER" strides=[2,2]}
        return y""",
        ["ConvTranspose"],
    ),
    "two clips": (
        "normalize-clip",
        """x: f32[N,4]; a: f32[] = -1; b: f32[] = 2; c: f32[1] = [0.5]
        p = Clip(x, a, b)
        q = Max(p, c)
        y = Relu(q)
        return y""",
        ["Clip"],
    ),
    "a clip that is a Relu": (
        "normalize-clip",
        """x: f32[N,4]; zero: f32[] = 0
        y = Clip(x, zero)
        return y""",
        ["Relu"],
    ),
    "the constant comes second": (
        "normalize-elementwise",
        """x: f32[N,2]; c: f32[2] = [1, 2]
        a = Mul(c, x)
        y = Add(c, a)
        return y""",
        ["Mul", "Add"],
    ),
    "gelu, half of x first": (
        "fuse-gelu",
        """x: f32[N,4]; r: f32[] = 0.70710677; one: f32[] = 1; h: f32[] = 0.5
        a = Mul(r, x)
        b = Erf(a)
        c = Add(one, b)
        d = Mul(x, h)
        y = Mul(c, d)
        return y""",
        ["Gelu"],
    ),
    "gelu, half of the bracket": (
        "fuse-gelu",
        """x: f32[N,4]; r: f32[] = 1.4142135; one: f32[] = 1; h: f32[] = 0.5
        a = Div(x, r)
        b = Erf(a)
        c = Add(b, one)
        d = Mul(h, c)
        y = Mul(d, x)
        return y""",
        ["Gelu"],
    ),
    "a pad of named axes into a pool": (
        "merge-pad",
        """x: f32[N,3,8,8]; p: i64[4] = [1, 0, 1, 2]; z: f32[] = 0; axes: i64[2] = [2, -1]
        a = Pad(x, p, z, axes)
        y = AveragePool(a) {kernel_shape=[2,2] strides=[2,2]}
        return y""",
        ["AveragePool"],
    ),
    "a bias that is there": (
        "merge-bias",
        f"""{CONV}; b: f32[4] = random; c: f32[1,4,1,1] = random
        a = Conv(x, w, b)
        y = Add(c, a)
        return y""",
        ["Conv"],
    ),
    "a scalar": (
        "merge-bias",
        """x: f32[N,2,4,4]; w: f32[2,3,2,2] = random; c: f32[] = 2
        a = ConvTranspose(x, w)
        y = Add(a, c)
        return y""",
        ["ConvTranspose"],
    ),
    "batch normalization of a transposed convolution in groups": (
        "fold-batchnorm",
        f"""x: f32[N,4,5,5]; w: f32[4,2,3,3] = random; c: f32[4] = random
        {STATISTICS}
        a = ConvTranspose(x, w, c) {{group=2}}
        y = BatchNormalization(a, s, b, m, v)
        return y""",
        ["ConvTranspose"],
    ),
    "batch normalization of a linear operation, and an Add": (
        "fold-batchnorm",
        f"""x: f32[N,3]; w: f32[3,4] = random; c: f32[4] = random
        {STATISTICS}
        a = quantable.Linear(x, w)
        n = BatchNormalization(a, s, b, m, v)
        y = Add(n, c)
        return y""",
        ["quantable.Linear"],
    ),
    "batch normalization alone": (
        "fold-batchnorm",
        f"""x: f32[N,4,3,3]
        {STATISTICS}
        y = BatchNormalization(x, s, b, m, v)
        return y""",
        ["Conv"],
    ),
    "batch normalization of a matrix": (
        "fold-batchnorm",
        f"""x: f32[N,4]
        {STATISTICS}
        y = BatchNormalization(x, s, b, m, v)
        return y""",
        ["Mul", "Add"],
    ),
    "MatMul and Add": (
        "merge-linear",
        """x: f32[N,5,3]; w: f32[3,4] = random; b: f32[1,1,4] = random
        a = MatMul(x, w)
        y = Add(b, a)
        return y""",
        ["quantable.Linear"],
    ),
    "Gemm of a transposed input with a bias for each row": (
        "merge-linear",
        """x: f32[3,2]; w: f32[3,4] = random; b: f32[2,1] = random
        y = Gemm(x, w, b) {transA=1 beta=2.0}
        return y""",
        ["Transpose", "quantable.Linear", "Add"],
    ),
    "Gemm of two inputs": (
        "merge-linear",
        """x: f32[N,3]; w: f32[4,3]
        y = Gemm(x, w) {transB=1 alpha=0.5}
        return y""",
        ["Transpose", "MatMul", "Mul"],
    ),
    "transposes above an addition": (
        "eliminate-transposes",
        """x: f32[N,4,6,3]; z: f32[N,4,6,3]
        a = Transpose(x) {perm=[0,3,1,2]}
        b = Transpose(z) {perm=[0,3,1,2]}
        y = Add(a, b)
        return y""",
        ["Add", "Transpose"],
    ),
    "a parameter is permuted with it": (
        "eliminate-transposes",
        """x: f32[N,4,6,3]; c: f32[3,1,1] = random
        a = Transpose(x) {perm=[0,3,1,2]}
        b = Mul(a, c)
        y = Transpose(b) {perm=[0,2,3,1]}
        return y""",
        ["Mul"],
    ),
    "the first of two is read twice": (
        "eliminate-transposes",
        """x: f32[N,4,6]
        a = Transpose(x) {perm=[0,2,1]}
        b = Relu(a)
        y = Transpose(a) {perm=[0,2,1]}
        return y, b""",
        ["Transpose", "Relu", "Transpose"],
    ),
    "a mask that nothing reads": (
        "eliminate-dead-code",
        """x: f32[N,3]
        y, mask = Dropout(x)
        return y""",
        ["Dropout"],
    ),
    "one operation reads it twice": (
        "unshare-parameters",
        """x: f32[N,2]; w: f32[2] = [1, 2]
        y = Sum(x, w, w)
        return y""",
        ["Sum"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rewritten(case: str, rewrite: Callable[[str, str], Any]) -> None:
    name, text, kinds = CASES[case]
    outcome = rewrite(name, text)
    assert outcome.after is not outcome.before
    assert [op.kind for op in outcome.after.operations] == kinds


def _after(case: str, rewrite: Callable[[str, str], Any]) -> Graph:
    graph: Graph = rewrite(*CASES[case][:2]).after
    return graph


def test_the_fixed_batch_reaches_the_input(rewrite: Callable[[str, str], Any]) -> None:
    assert _after("a fixed batch is found", rewrite).shape("x") == (1, 4, 1, 1)


def test_reshape_copies_what_stays(rewrite: Callable[[str, str], Any]) -> None:
    after = _after("two symbols that stay", rewrite)
    assert after.array("y.shape").tolist() == [0, 0, 2, 2]


def test_slice_to_the_end_is_open(rewrite: Callable[[str, str], Any]) -> None:
    after = _after("a slice to the end", rewrite)
    assert after.array("y.ends").tolist() == [2**63 - 1]


def test_rounding_up_becomes_padding(rewrite: Callable[[str, str], Any]) -> None:
    pools = _after("a partial last window", rewrite).operations
    assert [pool.int_attribute("ceil_mode") for pool in pools] == [0, 0]
    # In the second one, a window that starts in the padding does not count.
    assert [pool.ints_attribute("pads") for pool in pools] == [(0, 0, 1, 1), (1, 0, 1, 1)]


def test_two_clips_keep_the_narrower_bounds(rewrite: Callable[[str, str], Any]) -> None:
    after = _after("two clips", rewrite)
    bounds = [float(after.array(name)) for name in after.operations[0].inputs[1:]]
    assert bounds == [0.5, 2.0]


def test_sources_of_a_fused_operation_are_all_of_its_parts(
    rewrite: Callable[[str, str], Any],
) -> None:
    after = _after("gelu, half of x first", rewrite)
    assert set(after.operations[0].sources) == {f"node of {n}" for n in "abcdy"}


def test_a_copy_of_a_parameter_is_stored_once(rewrite: Callable[[str, str], Any]) -> None:
    after = _after("one operation reads it twice", rewrite)
    assert {ref.digest for ref in after.parameters.values()} == {after.parameters["w"].digest}
    assert len(after.parameters) == 2


def test_a_mask_that_nothing_reads_is_dropped(rewrite: Callable[[str, str], Any]) -> None:
    after = _after("a mask that nothing reads", rewrite)
    assert after.operations[0].outputs == ("y",)
