"""Squareplus(x) = (x + sqrt(x**2 + b)) / 2, in integers a table.

Source: Barron, "Squareplus: A Softplus-Like Algebraic Rectifier", 2021.
"""

from __future__ import annotations

from quantable.ir.user_operations import SAME, QuantizationRule, Table, UserOperation

SQUAREPLUS = UserOperation(
    domain="com.example.waveform", name="Squareplus", inputs=("x",), outputs=("y",), shape=SAME,
    semantics="waveform_operations.semantics:squareplus", attributes={"b": 4.0},
    rule=QuantizationRule(), integer=Table(), summary="a smooth rectifier",
)  # fmt: skip
