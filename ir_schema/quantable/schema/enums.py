"""Enumerators of the IR and their codes in the file: equal names, 0 is never valid."""

from __future__ import annotations

import enum
from typing import Any

from quantable.ir.dtypes import DType
from quantable.ir.graph import Level
from quantable.ir.policies import Arithmetic, Granularity, Rounding, Symmetry, Visibility
from quantable.ir.quantization import Relation
from quantable.ir.states import State
from quantable.schema.generated.Arithmetic import Arithmetic as ArithmeticCode
from quantable.schema.generated.DType import DType as DTypeCode
from quantable.schema.generated.Granularity import Granularity as GranularityCode
from quantable.schema.generated.Level import Level as LevelCode
from quantable.schema.generated.Relation import Relation as RelationCode
from quantable.schema.generated.Rounding import Rounding as RoundingCode
from quantable.schema.generated.State import State as StateCode
from quantable.schema.generated.Symmetry import Symmetry as SymmetryCode
from quantable.schema.generated.Visibility import Visibility as VisibilityCode

ENUMS: dict[type[enum.Enum], Any] = {
    Arithmetic: ArithmeticCode, DType: DTypeCode, Granularity: GranularityCode, Level: LevelCode,
    Relation: RelationCode, Rounding: RoundingCode, State: StateCode, Symmetry: SymmetryCode,
    Visibility: VisibilityCode,
}  # fmt: skip
"""The generated class of codes for every enum that files hold."""

CODES: dict[enum.Enum, int] = {
    member: getattr(codes, member.name) for kind, codes in ENUMS.items() for member in kind
}
"""The code of every enumerator."""

MEMBERS: dict[type[enum.Enum], dict[int, Any]] = {
    kind: {CODES[member]: member for member in kind} for kind in ENUMS
}
"""For every enum its enumerators by code."""
