"""The operations of ONNX as data: the one table of what they are, in a file a domain.

`standard_operations.txt` has those of ai.onnx and says what the columns mean;
`microsoft_operations.txt` has those of com.microsoft, which ONNX Runtime adds. Whatever depends on
an operation's nature is read from them: what the frontend takes, which kinds a text may name, which
slots hold shapes or indices, what quantization may do. Tests compare them to the onnx package and
to ONNX Runtime.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

MICROSOFT = "com.microsoft"
"""The domain of what ONNX Runtime adds to the standard."""
_FOLDER = Path(__file__).parent
_LEFT_OUT = "[left out: "


class Role(enum.Enum):
    """What quantization does with an operation; the file says it in words."""

    COMPUTE = "compute"
    ELEMENTWISE = "elementwise"
    PASSIVE = "passive"
    JOIN = "join"
    INDEX = "index"
    FLOAT = "float"


@dataclass(frozen=True, slots=True)
class StandardOperation:
    """One operation.

    Attributes:
        kind: Its name, behind its domain where that is not ai.onnx.
        family: What it belongs to; kernels lie in a file a family.
        versions: Opsets that introduced or changed it, ascending.
        inputs, outputs: Names of the newest version; ``?`` marks optional ones, ``*`` any number.
        attributes: Names of the newest version, sorted.
        has_shape_function: Whether `infer-shapes` knows it; what others make has the shape that
            the onnx package inferred at the import.
        role: What quantization does with it.
        slots: One letter an input slot, '' for none.
        left_out: Why no import takes it, '' where one does.
    """

    kind: str
    family: str
    versions: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    has_shape_function: bool
    role: Role
    slots: str
    left_out: str = ""

    def slot(self, index: int) -> str:
        """Return the letter of an input slot; 'f' where the table has none."""
        letters = self.slots.removesuffix("*")
        return letters[min(index, len(letters) - 1)] if letters else "f"

    @property
    def index_slots(self) -> tuple[int, ...]:
        """Slots that only say where elements lie: their values do not come out again."""
        return tuple(i for i, letter in enumerate(self.slots) if letter == "i")


@functools.cache
def standard_operations() -> Mapping[str, StandardOperation]:
    """Return every operation of ai.onnx by kind."""
    return _table("standard_operations.txt", "")


@functools.cache
def microsoft_operations() -> Mapping[str, StandardOperation]:
    """Return every operation of com.microsoft by kind."""
    return _table("microsoft_operations.txt", f"{MICROSOFT}.")


@functools.cache
def known_operations() -> Mapping[str, StandardOperation]:
    """Return every operation of every domain by kind."""
    return MappingProxyType({**standard_operations(), **microsoft_operations()})


def _table(file: str, prefix: str) -> Mapping[str, StandardOperation]:
    found: dict[str, StandardOperation] = {}
    family = reason = ""
    for line in (_FOLDER / file).read_text(encoding="utf-8").splitlines():
        if line.startswith(_LEFT_OUT):
            family, reason = "", line.removeprefix(_LEFT_OUT).removesuffix("]")
        elif line.startswith("["):
            family, reason = line.strip("[]"), ""
        elif reason:
            rows = (_row(f"{kind} | 1 | | | | onnx | float | {reason}", "", prefix)
                    for kind in line.split())  # fmt: skip
            found.update((row.kind, row) for row in rows)
        elif line and not line.startswith("#"):
            row = _row(line, family, prefix)
            found[row.kind] = row
    return MappingProxyType(found)


def _row(line: str, family: str, prefix: str) -> StandardOperation:
    kind, versions, inputs, outputs, attributes, shapes, rule, *rest = (
        cell.strip() for cell in line.split("|")
    )
    role, _, slots = rule.partition(" ")
    return StandardOperation(
        prefix + kind, family, tuple(map(int, versions.split())), tuple(inputs.split()),
        tuple(outputs.split()), tuple(attributes.split()), shapes == "own", Role(role), slots,
        *rest,
    )  # fmt: skip
