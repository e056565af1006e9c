"""The C11 headers that generated code includes, one folder an instruction set.

They are read as package data (`importlib.resources.files`), copied beside the generated code, and
defined to the bit by ``docs/integer-operations.md``.
"""

from __future__ import annotations

from importlib.resources import files

FOLDERS = ("portable", "x86", "aarch64", "armv7em", "armv81m", "rv32", "rvv")
"""One a set of kernels; names of headers are unique over all of them."""

SHARED = ("vectors",)
"""What several sets include, in folders of its own."""


def header(name: str) -> str:
    """Return the text of one kernel header."""
    root = files("quantable.kernels")
    places = [root.joinpath(folder, name) for folder in (*FOLDERS, *SHARED)]
    return next(path for path in places if path.is_file()).read_text(encoding="utf-8")
