"""Snake(x) = x + sin(alpha * x)**2 / alpha with one alpha a channel: an integer kernel of its own.

A table a channel: of 256 entries for 8-bit inputs; of 513 knots, linear in between, for 16 bits.

Source: Ziyin, Hartwig, Ueda, "Neural Networks Fail to Learn Periodic Functions and How to Fix It",
NeurIPS 2020.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from quantable.ir import DType
from quantable.ir.user_operations import (
    SAME,
    CKernel,
    IntegerKernel,
    Preparation,
    Prepared,
    QuantizationRule,
    UserOperation,
)

KNOT_STEP = 128
"""Steps of a 16-bit input between two knots."""


def prepare(given: Preparation) -> Prepared:
    """Fill the tables: the float function on every input that there can be."""
    x, y, alpha = given.inputs["x"], given.output, given.constants["alpha"].reshape(-1, 1)
    first, last = x.dtype.minimum, x.dtype.maximum
    steps = np.arange(first, last + 1) if x.dtype.bits == 8 else np.arange(513) * KNOT_STEP + first
    real = x.dequantize(steps).astype(np.float64)
    snake = real + np.sin(alpha.astype(np.float64) * real) ** 2 / alpha
    table = y.quantize(snake.astype(np.float32))
    return Prepared(parameters={"table": (table, DType.INT32)})


C = CKernel(
    source=files(__package__).joinpath("snake.h").read_text(encoding="utf-8"),
    functions={
        "u8,i32->u8": "snake_u8_u8", "u8,i32->i16": "snake_u8_i16",
        "i16,i32->u8": "snake_i16_u8", "i16,i32->i16": "snake_i16_i16",
    },
    arguments=("x", "table", "y", "shape(x)", "rank(x)", "axis"),
)  # fmt: skip

SNAKE = UserOperation(
    domain="com.example.waveform", name="Snake", inputs=("x", "alpha"), outputs=("y",), shape=SAME,
    semantics="waveform_operations.semantics:snake", attributes={"axis": 1},
    rule=QuantizationRule(inputs=("activation", "float")),
    integer=IntegerKernel(
        operands=("x", "table"), prepare=prepare, c=C, is_elementwise=True,
        semantics="waveform_operations.semantics:snake_integers",
    ),
    summary="a periodic activation",
)  # fmt: skip
