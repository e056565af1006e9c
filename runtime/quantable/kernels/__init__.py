"""The C11 headers that generated code includes, one folder an instruction set.

They are read as package data (`importlib.resources.files`), copied beside the generated code, and
defined to the bit by ``docs/integer-operations.md``.
"""

from __future__ import annotations

from importlib.resources import files

PORTABLE = "portable"
"""Scalar C11 for every compiler and machine with IEEE floats and 8-bit bytes."""


def header(name: str, instruction_set: str = PORTABLE) -> str:
    """Return the text of one kernel header."""
    path = files("quantable.kernels").joinpath(instruction_set, name)
    return path.read_text(encoding="utf-8")
