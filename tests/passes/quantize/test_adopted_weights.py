"""Zero points of weights go into the integers where an integer target wants none."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.ir import DType, QuantableOperation, UnsupportedError
from tests.passes.quantize.adopting import Adopt, Remarks

_CONV = """g (float[1,2,3,3] x) => (float[1,2,3,3] y)
    <float s = {0.5}, uint8 z = {128}, float[2] ws = {0.25, 0.125}, KIND[2] wz = {ZERO},
     KIND[2,2,1,1] w = {WEIGHT}> {
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    [c] c = Conv (xd, wd)
    q = QuantizeLinear (c, s, z)
    y = DequantizeLinear (q, s, z)
}"""


def _text(kind: str, zero: str, weight: str) -> str:
    return _CONV.replace("KIND", kind).replace("ZERO", zero).replace("WEIGHT", weight)


@pytest.mark.parametrize(
    ("kind", "zero", "weight", "stored", "low"),
    [("uint8", "128, 128", "0, 255, 128, 1", [-128, 127, 0, -127], -128),
     ("uint8", "128, 128", "1, 255, 128, 1", [-127, 127, 0, -127], -127),
     ("uint8", "3, 250", "130, 0, 122, 255", [127, -3, -128, 5], -128),
     ("int8", "1, 0", "1, -127, 5, 6", [0, -128, 5, 6], -128)],
)  # fmt: skip
def test_a_zero_point_goes_into_the_integers(
    kind: str, zero: str, weight: str, stored: list[int], low: int, adopt: Adopt
) -> None:
    """The fixture compares all results with those of the model, to the bit."""
    remarks: Remarks = []
    graph = adopt(_text(kind, zero, weight), target="c-portable", remarks=remarks)
    (conv,) = graph.quantable_operations
    config = conv.config.inputs[1]
    assert graph.store.get(conv.baked[0].content).reshape(-1).tolist() == stored
    assert conv.baked[0].content.dtype is config.storage is DType.INT8
    assert (config.quant_min, config.quant_max, config.policy.is_symmetric) == (low, 127, True)
    row = graph.rows[config.row]
    assert (row.scale, row.zero_point) == ((0.25, 0.125), (0, 0))
    assert conv.baked[0].row_digest == row.digest
    kept = adopt(_text(kind, zero, weight))
    (theirs,) = kept.quantable_operations
    assert kept.rows[theirs.config.inputs[1].row].zero_point != (0, 0)
    assert isinstance(theirs, QuantableOperation)
    np.testing.assert_array_equal(
        graph.store.get(conv.original(1)), kept.store.get(theirs.original(1))
    )
    assert [text for _, _, text in remarks] == ["stored as i8, less its zero point"]


def test_weights_of_four_bits_stay_so_less_their_zero_point(adopt: Adopt) -> None:
    """They were stored as int8 beside a config of four bits, which the verifier refused."""
    graph = adopt(_text("uint4", "8, 7", "0, 15, 3, 14"), target="c-portable")
    (conv,) = graph.quantable_operations
    content = conv.baked[0].content
    assert content.dtype is conv.config.inputs[1].storage is DType.INT4
    assert graph.store.get(content).reshape(-1).tolist() == [-8, 7, -4, 7]


def test_what_does_not_fit_is_named(adopt: Adopt) -> None:
    text = _text("uint8", "128, 127", "0, 1, 2, 255")
    with pytest.raises(UnsupportedError) as caught:
        adopt(text, target="c-portable")
    place = "'c' (Conv from c) in1: its weight less its zero point is -128 to 128, expected -128"
    assert place in caught.value.message
    assert "--calibration" not in caught.value.help
    assert "--requantize" in caught.value.help
