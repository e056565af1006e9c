"""What a target of integers alone asks of a model that is quantized already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.frontend import import_model
from quantable.ir import UnsupportedError
from quantable.passes.base import PassContext, run_passes
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers
from quantable.reference import FloatExecutor
from quantable.targets.description import load_target
from tests.passes.quantize.adopting import CONSTANTS, OWN, Adopt, parsed, slot


def test_an_integer_target_names_every_tensor_without_a_row(adopt: Adopt) -> None:
    text = f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Relu (x)
        [b] b = Add (a, a)
        q = QuantizeLinear (b, s, z)
        y = DequantizeLinear (q, s, z)
    }}"""
    with pytest.raises(UnsupportedError) as caught:
        adopt(text, target="c-portable")
    for place in ("'a' (Relu", "in0: the model does not quantize 'x'", "out0", "'b' (Add"):
        assert place in str(caught.value.message)
    assert "--requantize" in caught.value.help


def test_an_integer_target_quantizes_constants_that_the_model_leaves_real(
    tmp_path: Path,
) -> None:
    text = """g (float[2,3] x) => (float[2,3] y)
        <float s = {0.5}, uint8 z = {128}, float[3] c = {0.25, -1, 0.5}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [a] a = Mul (xd, c)
        q = QuantizeLinear (a, s, z)
        y = DequantizeLinear (q, s, z)
    }"""
    onnx.save(parsed(text), tmp_path / "model.onnx")
    context = PassContext(FloatExecutor(), load_target("c-portable"))
    made = run_passes(import_model(tmp_path / "model.onnx"), [AdoptQuantizers()], context)
    assert slot(made, "a", "in", 1) == (*OWN, "a.in1")
    assert made.rows["a.in1"].scale == (float(np.float32(1 / 127)),)
    assert ["leaves 'c' real" in text for _, _, text in context.remarks] == [True]


def test_a_sum_of_quantized_tensors_reads_their_rows(adopt: Adopt) -> None:
    """An operation whose output the model leaves real was said to read nothing quantized."""
    with pytest.raises(UnsupportedError) as caught:
        adopt(
            f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
            xq = QuantizeLinear (x, s, z)
            xd = DequantizeLinear (xq, s, z)
            [a] a = Neg (xd)
            q = QuantizeLinear (a, s, z)
            d = DequantizeLinear (q, s, z)
            [b] y = Add (d, d)
        }}""",
            target="c-portable",
        )
    lines = caught.value.message.splitlines()[1:]
    assert lines == ["  operation 'b' (Add from b) out0: the model does not quantize 'y'"]


def test_activations_by_channel_are_named_before_calibration(adopt: Adopt) -> None:
    """The lowering refused them, long after, and one by one."""
    with pytest.raises(UnsupportedError, match="by channel, expected one scale"):
        adopt(
            """g (float[2,3] x) => (float[2,3] y)
            <float[3] s = {0.5, 1, 2}, uint8[3] z = {0, 0, 0}> {
            [a] a = Relu (x)
            q = QuantizeLinear <axis = 1> (a, s, z)
            d = DequantizeLinear <axis = 1> (q, s, z)
            [b] y = Neg (d)
        }""",
            target="c-portable",
            partial=True,
        )
