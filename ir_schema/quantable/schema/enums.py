"""Enumerators of the IR and their codes in the file: equal names, 0 is never valid."""

from __future__ import annotations

import enum
from typing import Any

from quantable.ir.dtypes import DType
from quantable.ir.graph import Level
from quantable.ir.policies import Arithmetic, Granularity, Rounding, Symmetry, Visibility
from quantable.ir.quantization import Relation
from quantable.ir.states import State
from quantable.ir.values import Container
from quantable.schema.generated.layout import LAYOUT

ENUMS: tuple[type[enum.Enum], ...] = (
    Arithmetic, Container, DType, Granularity, Level, Relation, Rounding, State, Symmetry,
    Visibility,
)  # fmt: skip
"""Every enum that files hold; the schema has one of the same name."""

_CODES: dict[str, dict[str, int]] = LAYOUT["enums"]

CODES: dict[enum.Enum, int] = {
    member: _CODES[kind.__name__][member.name] for kind in ENUMS for member in kind
}
"""The code of every enumerator."""

MEMBERS: dict[type[enum.Enum], dict[int, Any]] = {
    kind: {CODES[member]: member for member in kind} for kind in ENUMS
}
"""For every enum its enumerators by code."""
