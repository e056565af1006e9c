"""The operations of the domain ai.onnx as data: the one table of what they are.

The table is `standard_operations.txt`, which says what its columns mean. Whatever depends on an
operation's nature is read from it: what the frontend takes, which kinds a text may name, which
slots hold shapes or indices, what quantization may do. A test compares it to the onnx package.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_FILE = Path(__file__).with_suffix(".txt")


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
    """One operation of ai.onnx.

    Attributes:
        kind: Its name.
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
    """Return every operation by name."""
    found: dict[str, StandardOperation] = {}
    family = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            family = line.strip("[]")
        elif line and not line.startswith("#"):
            row = _row(line, family)
            found[row.kind] = row
    return MappingProxyType(found)


def _row(line: str, family: str) -> StandardOperation:
    kind, versions, inputs, outputs, attributes, shapes, rule, *rest = (
        cell.strip() for cell in line.split("|")
    )
    role, _, slots = rule.partition(" ")
    return StandardOperation(
        kind, family, tuple(map(int, versions.split())), tuple(inputs.split()),
        tuple(outputs.split()), tuple(attributes.split()), shapes == "own", Role(role), slots,
        *rest,
    )  # fmt: skip
